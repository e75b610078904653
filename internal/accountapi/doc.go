// SPDX-License-Identifier: Apache-2.0

// Package accountapi owns the account API as the two sides share it: the wire
// types and the client generated from docs/account-api.yaml, the problem
// types, the device's request signatures (RFC 9421) and the signed grants and
// statements (RFC 7515). What the daemon needs to speak to the service is in
// its subpackage client.
//
// It must not decide anything: neither what a statement changes nor who may
// ask.
package accountapi

//go:generate go tool oapi-codegen -config gen-types.yaml ../../docs/account-api.yaml
