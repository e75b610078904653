-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Support cases: each is about one device and the link that it had when the case
-- was opened.
CREATE TABLE cases (
    -- Nine digits in groups of three, the last a check digit.
    number     TEXT   NOT NULL PRIMARY KEY,
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    account_id TEXT   NOT NULL,
    link_id    TEXT   NOT NULL,
    -- What the device showed last; empty where nobody has said.
    challenge  TEXT   NOT NULL,
    -- The device itself asked, with the key that is its own.
    proven     BIGINT NOT NULL CHECK (proven IN (0, 1)),
    region     TEXT   NOT NULL,
    locale     TEXT   NOT NULL,
    -- A member of staff by name, or `device`.
    opened_by  TEXT   NOT NULL,
    opened_at  BIGINT NOT NULL,
    -- When the device, or staff, last asked for it.
    asked_at   BIGINT NOT NULL,
    -- How often an offline code or a ticket was given out in it.
    answered   BIGINT NOT NULL DEFAULT 0,
    -- Empty while it is open.
    outcome    TEXT   NOT NULL DEFAULT '' CHECK (outcome IN
        ('', 'released', 'found', 'answered', 'stopped', 'closed', 'expired', 'account-deleted')),
    closed_at  BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX cases_open ON cases (device_id) WHERE outcome = '';
CREATE INDEX cases_device ON cases (device_id, opened_at);
CREATE INDEX cases_account ON cases (account_id, opened_at);
CREATE INDEX cases_asked ON cases (asked_at) WHERE outcome = '';
CREATE INDEX cases_closed ON cases (closed_at) WHERE outcome <> '';
CREATE INDEX cases_opened ON cases (opened_at);
CREATE INDEX cases_newest ON cases (opened_at) WHERE outcome = '';

CREATE TABLE case_notes (
    case_number TEXT   NOT NULL REFERENCES cases (number),
    position    BIGINT NOT NULL,
    staff       TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    text        TEXT   NOT NULL,
    PRIMARY KEY (case_number, position)
);

-- Whether questions about the account's history were answered rightly. What was
-- answered is nowhere.
CREATE TABLE case_answers (
    case_number TEXT   NOT NULL REFERENCES cases (number),
    position    BIGINT NOT NULL,
    question    TEXT   NOT NULL,
    staff       TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    correct     BIGINT NOT NULL CHECK (correct IN (0, 1)),
    PRIMARY KEY (case_number, position)
);

-- Who of staff approves of what, of the device as it stood (generation).
CREATE TABLE case_approvals (
    case_number TEXT   NOT NULL REFERENCES cases (number),
    staff_id    TEXT   NOT NULL REFERENCES staff (id),
    action      TEXT   NOT NULL CHECK (action IN ('release', 'found', 'offline-code', 'ticket')),
    generation  BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (case_number, staff_id)
);

-- What a notice is about besides a device: a case's number.
ALTER TABLE notices ADD COLUMN detail TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE notices DROP COLUMN detail;
DROP TABLE case_approvals;
DROP TABLE case_answers;
DROP TABLE case_notes;
DROP TABLE cases;
