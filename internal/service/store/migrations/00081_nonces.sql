-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- The nonces of requests that were taken in, as long as one could be taken for fresh. In
-- hexadecimal, beginning with the time: new ones are neighbours.
CREATE TABLE nonces (
    nonce TEXT NOT NULL PRIMARY KEY
);

-- +goose Down
DROP TABLE nonces;
