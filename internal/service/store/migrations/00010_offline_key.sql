-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- The key of the link's offline codes, sealed under the service secret; empty
-- where none was agreed, and once the link has ended.
ALTER TABLE links ADD COLUMN offline_key TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE links DROP COLUMN offline_key;
