-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Challenges that were solved, until they would have expired.
CREATE TABLE captchas (
    challenge  TEXT   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX captchas_expires ON captchas (expires_at);

-- A captcha was solved in this flow and permits one attempt.
ALTER TABLE flows ADD COLUMN human BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE flows DROP COLUMN human;
DROP TABLE captchas;
