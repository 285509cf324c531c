-- Consent may be withdrawn while a deletion is scheduled, so what was accepted before says nothing: whether
-- advertising comes back with a cancellation is read off the ledger of consents.
ALTER TABLE erasures DROP COLUMN accepted_marketing;
