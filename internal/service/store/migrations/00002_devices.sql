-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

CREATE TABLE devices (
    id          TEXT   NOT NULL PRIMARY KEY,
    model       TEXT   NOT NULL,
    -- The newest link that was committed; empty is never linked. A link that
    -- is still reserved is not named here.
    link_id     TEXT   NOT NULL DEFAULT '',
    enrolled_at BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL
);

-- key_id is the thumbprint of the public key (base64url).
CREATE TABLE device_keys (
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    key_id     TEXT   NOT NULL,
    public     TEXT   NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('active', 'pending')),
    -- What a pending key was enrolled with (JSON); it becomes the device's
    -- only with the key.
    identities TEXT   NOT NULL DEFAULT '',
    added_at   BIGINT NOT NULL,
    PRIMARY KEY (device_id, key_id)
);
CREATE INDEX device_keys_key ON device_keys (key_id);
CREATE UNIQUE INDEX device_keys_active ON device_keys (device_id) WHERE status = 'active';

-- What the hardware calls itself, as a digest. Each belongs to one device.
CREATE TABLE device_identities (
    source    TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    device_id TEXT   NOT NULL REFERENCES devices (id),
    added_at  BIGINT NOT NULL,
    PRIMARY KEY (source, digest)
);
CREATE INDEX device_identities_device ON device_identities (device_id);

CREATE TABLE links (
    id             TEXT   NOT NULL PRIMARY KEY,
    device_id      TEXT   NOT NULL REFERENCES devices (id),
    account_id     TEXT   NOT NULL,
    -- The account's masked identifier as it was when the link was made.
    hint           TEXT   NOT NULL,
    status         TEXT   NOT NULL CHECK (status IN
        ('pending', 'linked', 'lost', 'signed-out', 'unlinked', 'account-deleted')),
    generation     BIGINT NOT NULL,
    lost_message   TEXT   NOT NULL DEFAULT '',
    lost_contact   TEXT   NOT NULL DEFAULT '',
    -- Of a pending link alone: when it is dropped.
    reserved_until BIGINT NOT NULL DEFAULT 0,
    created_at     BIGINT NOT NULL,
    changed_at     BIGINT NOT NULL
);
CREATE INDEX links_account ON links (account_id);
CREATE INDEX links_device ON links (device_id);
CREATE UNIQUE INDEX links_pending ON links (device_id) WHERE status = 'pending';
CREATE INDEX links_reserved ON links (reserved_until) WHERE status = 'pending';

-- The owner's list of events, the newest thousand of each device.
CREATE TABLE device_events (
    device_id   TEXT   NOT NULL REFERENCES devices (id),
    number      BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    detail      TEXT   NOT NULL,
    -- By the device's clock, in seconds, or the service's.
    happened_at BIGINT NOT NULL,
    noted_at    BIGINT NOT NULL,
    -- The idempotency key of the report; empty for what the service noted.
    batch       TEXT   NOT NULL,
    PRIMARY KEY (device_id, number)
);

-- +goose Down
DROP TABLE device_events;
DROP TABLE links;
DROP TABLE device_identities;
DROP TABLE device_keys;
DROP TABLE devices;
