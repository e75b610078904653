-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- What has run out is looked for each minute, and must not cost a look at all.
CREATE INDEX recoveries_expires ON recoveries (expires_at);
CREATE INDEX portal_sessions_seen ON portal_sessions (seen_at);

-- +goose Down
DROP INDEX portal_sessions_seen;
DROP INDEX recoveries_expires;
