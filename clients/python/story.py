"""The demo's story, told with the generated Python client: register, read the mail, verify, keep a
record, be looked after by staff, leave. Every answer is one of the client's own types, problems too.

    python story.py RUN_JSON      what `make run` wrote: base_url, staff_key, mail_dir
"""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import sys
import time
import uuid
from typing import Any, TypeVar

from customer_service_client import AuthenticatedClient, Client
from customer_service_client.api.addresses import (
    change_my_address,
    create_my_address,
    delete_my_address,
    get_my_address,
    set_my_address_default,
)
from customer_service_client.api.consents import list_my_consent_ledger, set_my_consent
from customer_service_client.api.countries import get_country
from customer_service_client.api.customers import (
    add_customer_tag,
    create_customer_note,
    delete_customer,
    get_customer,
    list_customer_notes,
    list_customer_timeline,
    list_customers,
)
from customer_service_client.api.groups import create_group, delete_group, list_groups
from customer_service_client.api.me import (
    change_me,
    change_my_preferences,
    change_my_profile,
    get_me,
    get_my_profile,
)
from customer_service_client.api.sign_in import log_in, refresh_tokens, register, verify_email
from customer_service_client.api.wishlists import (
    change_my_wishlist,
    create_my_wishlist,
    create_my_wishlist_item,
    get_shared_wishlist,
)
from customer_service_client.models import (
    Address,
    AddressPatch,
    ChannelsPatch,
    Consent,
    ConsentChange,
    Country,
    Customer,
    DefaultKind,
    FirstSession,
    Group,
    LoginBody,
    MePatch,
    Money,
    NewAddress,
    NewGroup,
    NewNote,
    NewTag,
    NewWishlist,
    NewWishlistItem,
    Note,
    PageConsentEntry,
    PageCountedGroup,
    PageCustomer,
    PageNote,
    PageTimelineMoment,
    Preferences,
    PreferencesPatch,
    Problem,
    Profile,
    ProfilePatch,
    ProfilePatchCustom,
    RefreshBody,
    RegisterBody,
    Sent,
    SharedWishlist,
    TokenPair,
    VerifyEmailBody,
    Wishlist,
    WishlistItem,
    WishlistPatch,
)
from customer_service_client.types import Response, Unset

PASSWORD = "seven green lanterns over Hoi An"
PATIENCE_SECONDS = 10

T = TypeVar("T")


def right(what: str, kind: type[T], answer: Response[Any], status: int = 200) -> T:
    """The answer, which must be of this type and status."""
    print(f"  {what}: {int(answer.status_code)}")
    if int(answer.status_code) != status or not isinstance(answer.parsed, kind):
        raise SystemExit(f"{what}: {answer.status_code} {answer.content!r}")
    return answer.parsed


def refused(what: str, answer: Response[Any], code: str) -> Problem:
    """The problem, which must be this one."""
    print(f"  {what}: {int(answer.status_code)} {code}")
    if not isinstance(answer.parsed, Problem) or answer.parsed.code.value != code:
        raise SystemExit(f"{what}: {answer.status_code} {answer.content!r}")
    return answer.parsed


def empty(what: str, status_code: int) -> None:
    print(f"  {what}: {status_code}")
    if status_code != 204:
        raise SystemExit(f"{what}: {status_code}")


def token_from_mail(folder: pathlib.Path, address: str) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for path in folder.glob("*.eml"):
            mail = re.sub("=\r?\n", "", path.read_text(encoding="utf-8")).replace("=3D", "=")
            found = re.search(r"token=([A-Za-z0-9_-]+)", mail)
            if address in mail and found:
                return found[1]
        time.sleep(0.05)
    raise SystemExit(f"no mail to {address} arrived in {folder}")


def tell(base_url: str, staff_key: str, mails: pathlib.Path) -> None:
    email = f"lan.{uuid.uuid4().hex}@python.example"
    anybody = Client(base_url=base_url)
    body = RegisterBody(email=email, password=PASSWORD, first_name="Lan", last_name="Nguyễn", locale="vi-VN")
    right("register", Sent, register.sync_detailed(client=anybody, body=body), 202)
    token = VerifyEmailBody(token=token_from_mail(mails, email))
    first = right("verify", FirstSession, verify_email.sync_detailed(client=anybody, body=token))
    assert first.customer.email == email and first.customer.status == "active"
    again = verify_email.sync_detailed(client=anybody, body=token)
    refused("the link works once", again, "token_invalid")

    body_in = LoginBody(password=PASSWORD, email=email)
    entrance = log_in.sync_detailed(client=anybody, body=body_in)
    pair = right("log in", TokenPair, entrance)
    renewed = refresh_tokens.sync_detailed(client=anybody, body=RefreshBody(pair.refresh_token))
    pair = right("refresh", TokenPair, renewed)

    lan = AuthenticatedClient(base_url=base_url, token=pair.access_token)
    keep_a_record(lan, anybody)
    look_after(AuthenticatedClient(base_url=base_url, token=staff_key), lan, email)


def keep_a_record(lan: AuthenticatedClient, anybody: Client) -> None:
    renamed = change_me.sync_detailed(client=lan, body=MePatch(first_name="Thị Lan"))
    assert right("change me", Customer, renamed).first_name == "Thị Lan"
    custom = ProfilePatchCustom.from_dict({"shoe_size": 37})
    patch = ProfilePatch(date_of_birth=datetime.date(1994, 5, 17), bio="Xin chào", custom=custom)
    right("profile", Profile, change_my_profile.sync_detailed(client=lan, body=patch))
    # RFC 7396: null clears, what is left out stays
    right("clear bio", Profile, change_my_profile.sync_detailed(client=lan, body=ProfilePatch(bio=None)))
    profile = right("read profile", Profile, get_my_profile.sync_detailed(client=lan))
    assert profile.bio is None and profile.date_of_birth == datetime.date(1994, 5, 17)
    wishes = PreferencesPatch(currency="VND", channels=ChannelsPatch(sms=True), topics=["sales"])
    changed = change_my_preferences.sync_detailed(client=lan, body=wishes)
    preferences = right("preferences", Preferences, changed)
    assert preferences.currency == "VND" and preferences.channels.sms

    vietnam = right("country", Country, get_country.sync_detailed("VN", client=anybody))
    hanoi = next(region for region in vietnam.regions if region.code == "VN-HN")
    home = NewAddress(
        recipient="Nguyễn Thị Lan", line1="1 Hùng Vương", city="Ba Đình", country="VN",
        region=hanoi.code, postal_code="11120", phone="0912 345 678",
    )  # fmt: skip
    kept = right("address", Address, create_my_address.sync_detailed(client=lan, body=home), 201)
    assert (kept.region, kept.region_code, kept.phone) == (hanoi.written, "VN-HN", "+84912345678")
    office = NewAddress(recipient="Lan", line1="5 Bạch Đằng", city="Đà Nẵng", country="VN", label="Office")
    other = right("another", Address, create_my_address.sync_detailed(client=lan, body=office), 201)
    kind = DefaultKind(kind="shipping")
    right("default", Address, set_my_address_default.sync_detailed(other.id, client=lan, body=kind))
    wrong = AddressPatch(postal_code="12", country="US", region="Atlantis")
    problem = refused("a wrong patch", change_my_address.sync_detailed(kept.id, client=lan, body=wrong), "validation_failed")
    assert not isinstance(problem.errors, Unset)
    assert {fault.pointer for fault in problem.errors} == {"#/postal_code", "#/region"}
    empty("delete", delete_my_address.sync_detailed(kept.id, client=lan).status_code)
    refused("it is gone", get_my_address.sync_detailed(kept.id, client=lan), "not_found")

    birthday = NewWishlist(name="Sinh nhật")
    wishlist = right("wishlist", Wishlist, create_my_wishlist.sync_detailed(client=lan, body=birthday), 201)
    lantern = NewWishlistItem(sku="LANTERN-7", quantity=2, price_seen=Money(amount=120000, currency="VND"))
    item = create_my_wishlist_item.sync_detailed(wishlist.id, client=lan, body=lantern)
    assert right("item", WishlistItem, item, 201).quantity == 2
    shared = change_my_wishlist.sync_detailed(wishlist.id, client=lan, body=WishlistPatch(shared=True))
    link = right("share", Wishlist, shared).share_token
    assert isinstance(link, str)
    public = get_shared_wishlist.sync_detailed(link, client=anybody)
    assert len(right("open the link", SharedWishlist, public).items) == 1

    consent = ConsentChange(granted=True, channel="email", text_version="1")
    given = set_my_consent.sync_detailed("marketing", client=lan, body=consent)
    right("consent", Consent, given)
    ledger = list_my_consent_ledger.sync_detailed("marketing", client=lan)
    assert right("ledger", PageConsentEntry, ledger).items[0].granted
    me = right("me", Customer, get_me.sync_detailed(client=lan, expand="profile,addresses"))
    assert me.accepts_marketing and isinstance(me.addresses, list) and len(me.addresses) == 1


def look_after(staff: AuthenticatedClient, lan: AuthenticatedClient, email: str) -> None:
    found = right("search", PageCustomer, list_customers.sync_detailed(client=staff, email=email))
    (customer,) = found.items
    code = f"py_{uuid.uuid4().hex[:12]}"
    made = create_group.sync_detailed(client=staff, body=NewGroup(code=code, name="Bạn bè"))
    right("group", Group, made, 201)
    groups = right("groups", PageCountedGroup, list_groups.sync_detailed(client=staff, limit=100))
    assert code in {group.code for group in groups.items}
    empty("delete group", delete_group.sync_detailed(code, client=staff).status_code)
    tag = add_customer_tag.sync_detailed(customer.id, client=staff, body=NewTag(tag="vip"))
    assert right("tag", Customer, tag).tags == ["vip"]
    written = create_customer_note.sync_detailed(customer.id, client=staff, body=NewNote(text="Thích đèn lồng"))
    note = right("note", Note, written, 201)
    notes = right("notes", PageNote, list_customer_notes.sync_detailed(customer.id, client=staff))
    assert [one.id for one in notes.items] == [note.id]
    timeline = list_customer_timeline.sync_detailed(customer.id, client=staff)
    assert right("timeline", PageTimelineMoment, timeline).items
    refused("staff only", list_customers.sync_detailed(client=lan), "unauthorized")
    empty("delete", delete_customer.sync_detailed(customer.id, client=staff).status_code)
    refused("she is gone", get_customer.sync_detailed(customer.id, client=staff), "not_found")


def main() -> None:
    run = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    tell(run["base_url"], run["staff_key"], pathlib.Path(run["mail_dir"]))
    print("The story is told, in Python.")


main()
