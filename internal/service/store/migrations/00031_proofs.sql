-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- What proves that the key's device is the hardware that it says it is: 'tpm',
-- 'token', or nothing.
ALTER TABLE device_keys ADD COLUMN proof TEXT NOT NULL DEFAULT '';
-- Whether an identity was proven; one that was not gives way to one that is.
ALTER TABLE device_identities ADD COLUMN proven BIGINT NOT NULL DEFAULT 0;
-- Whether the link was made by a device that had proven itself. Those from before
-- there were proofs bind whoever comes.
ALTER TABLE links ADD COLUMN proven BIGINT NOT NULL DEFAULT 1;

-- Which devices that prove nothing were linked from one network of late.
CREATE TABLE link_places (
    -- An IPv4 address, or an IPv6 network of 64 bits.
    place     TEXT   NOT NULL,
    device_id TEXT   NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (place, device_id)
);
CREATE INDEX link_places_time ON link_places (linked_at);

-- +goose Down
DROP TABLE link_places;
ALTER TABLE links DROP COLUMN proven;
ALTER TABLE device_identities DROP COLUMN proven;
ALTER TABLE device_keys DROP COLUMN proof;
