-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Browsers that an owner has signed in with and not signed out of: after some days, a
-- forgotten password is recovered there without a wait. The cookie holds a random token,
-- this its SHA-256. It opens nothing.
CREATE TABLE known_browsers (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    since      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX known_browsers_account ON known_browsers (account_id);
CREATE INDEX known_browsers_expires ON known_browsers (expires_at);

-- +goose Down
DROP TABLE known_browsers;
