// The personal values of messages, for a consumer that may read them: AES-256-GCM by the customer's own
// key, which the service tells to keys of the scope customers:unseal.

import { createDecipheriv } from "node:crypto";
import type { Data } from "./journal.js";

type Sealed = { kid: string; alg: string; nonce: string; ciphertext: string };
export type Key = { kid: string; alg: string; key: string };

/** Opens values; keys are kept in memory alone, and asked for again when a message names another. */
export class Unsealer {
  // Messages whose values were opened, and such as stay shut: not for us, or gone for everybody.
  readonly opened = new Set<string>();
  readonly shut = new Set<string>();
  private readonly keys = new Map<string, Key | undefined>();

  /** `keyOf` answers nothing where we may not have the key, and where the customer was erased. */
  constructor(private readonly keyOf: (customer: string) => Promise<Key | undefined>) {}

  /** What a message carries sealed; nothing where there is nothing that we can open. */
  async values(customer: string, message: string, data: Data): Promise<object | undefined> {
    const sealed = data["sealed"] as Sealed | undefined;
    if (!sealed || sealed.alg !== "A256GCM") return undefined;
    if (this.keys.get(customer)?.kid !== sealed.kid) this.keys.set(customer, await this.keyOf(customer));
    const key = this.keys.get(customer);
    if (key?.kid !== sealed.kid) {
      this.shut.add(message);
      return undefined;
    }
    const cipher = createDecipheriv("aes-256-gcm", decoded(key.key), decoded(sealed.nonce));
    // Bound to the message that it came with.
    cipher.setAAD(Buffer.from(`message/${customer}/${message}`));
    const secret = decoded(sealed.ciphertext);
    cipher.setAuthTag(secret.subarray(-16));
    const text = Buffer.concat([cipher.update(secret.subarray(0, -16)), cipher.final()]).toString();
    this.opened.add(message);
    return JSON.parse(text) as object;
  }
}

function decoded(text: string): Buffer {
  return Buffer.from(text, "base64url");
}
