"""The personal values of messages, for a consumer that may read them: AES-256-GCM by the customer's own
key, which the service tells to keys of the scope customers:unseal."""

import base64
import json
import urllib.error
from typing import Any, Callable

from Crypto.Cipher import AES


class Unsealer:
    """Opens values; keys are kept in memory alone, and asked for again when a message names another."""

    def __init__(self, ask: Callable[[str, str], Any]) -> None:
        self.ask = ask
        self.keys: dict[str, dict[str, str] | None] = {}
        # Messages whose values were opened, and such as stay shut: not for us, or gone for everybody.
        self.opened: set[str] = set()
        self.shut: set[str] = set()

    def values(self, customer: str, message: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """What a message carries sealed; None where there is nothing that we can open."""
        sealed = data.get("sealed")
        if sealed is None or sealed["alg"] != "A256GCM":
            return None
        key = self.keys.get(customer)
        if key is None or key["kid"] != sealed["kid"]:
            key = self.keys[customer] = self.key(customer)
        if key is None or key["kid"] != sealed["kid"]:
            self.shut.add(message)
            return None
        cipher = AES.new(decoded(key["key"]), AES.MODE_GCM, nonce=decoded(sealed["nonce"]))
        # Bound to the message that it came with.
        cipher.update(f"message/{customer}/{message}".encode())
        secret = decoded(sealed["ciphertext"])
        values = json.loads(cipher.decrypt_and_verify(secret[:-16], secret[-16:]))
        self.opened.add(message)
        return values

    def key(self, customer: str) -> dict[str, str] | None:
        """None where we may not have it, and where the customer was erased."""
        try:
            return self.ask("GET", f"/v1/admin/customers/{customer}/data_key")
        except urllib.error.HTTPError as refusal:
            if refusal.code == 403:
                return None
            raise


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
