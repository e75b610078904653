-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- The language of the owner's newest sign-in (BCP 47), in which notices are sent;
-- empty is not known.
ALTER TABLE accounts ADD COLUMN locale TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE accounts DROP COLUMN locale;
