-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Accounts whose people an identity provider signs in (OpenID Connect).
CREATE TABLE oidc_subjects (
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX oidc_subjects_account ON oidc_subjects (account_id);

-- Sign-ins that a browser has begun and not come back from. Its cookie holds a token,
-- this the token's
-- SHA-256; state, nonce and the secret of PKCE come from the token.
CREATE TABLE oidc_logins (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    -- Where to go on, and whether the provider was to ask for the password.
    going_to   TEXT   NOT NULL,
    again      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_logins_expires ON oidc_logins (expires_at);

-- What the provider calls a session of the portal, and when it saw its person last.
CREATE TABLE oidc_sessions (
    session_id TEXT   NOT NULL PRIMARY KEY,
    issuer     TEXT   NOT NULL,
    sid        TEXT   NOT NULL,
    account_id TEXT   NOT NULL,
    proven_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_sessions_sid ON oidc_sessions (issuer, sid);
CREATE INDEX oidc_sessions_expires ON oidc_sessions (expires_at);

-- Until when a password is good, and then once; 0 is one that its owner has chosen.
ALTER TABLE accounts ADD COLUMN password_until BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE accounts DROP COLUMN password_until;
DROP TABLE oidc_sessions;
DROP TABLE oidc_logins;
DROP TABLE oidc_subjects;
