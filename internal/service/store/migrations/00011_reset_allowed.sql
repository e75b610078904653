-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- The owner has allowed a factory reset on the device itself: after it, this
-- account may link the device again although this link stands.
ALTER TABLE links ADD COLUMN reset_allowed BIGINT NOT NULL DEFAULT 0 CHECK (reset_allowed IN (0, 1));

-- +goose Down
ALTER TABLE links DROP COLUMN reset_allowed;
