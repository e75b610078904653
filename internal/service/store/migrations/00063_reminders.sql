-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Account IDs that were asked for, until they were sent to the address that was typed.
-- One for an address that nobody has looks the same and sends nothing.
CREATE TABLE reminders (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- A keyed hash of the address.
    target     TEXT   NOT NULL,
    -- Empty where nobody has the address.
    account_id TEXT   NOT NULL,
    -- The address in the form in which two are compared, if somebody has it.
    value      TEXT   NOT NULL,
    locale     TEXT   NOT NULL,
    asked_at   BIGINT NOT NULL,
    -- Whether it has still to be sent, and until when a server is about to.
    sending    BIGINT NOT NULL DEFAULT 1,
    leased_to  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX reminders_target ON reminders (target, asked_at);
CREATE INDEX reminders_asked ON reminders (asked_at);
CREATE INDEX reminders_account ON reminders (account_id);
CREATE INDEX reminders_sending ON reminders (leased_to) WHERE sending = 1;

-- +goose Down
DROP TABLE reminders;
