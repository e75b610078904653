// SPDX-License-Identifier: Apache-2.0

// Package httpapi owns the account API over HTTP: who may ask (signatures,
// nonces), what a request may look like (media types, sizes, schema), that a
// request answered twice is done once (idempotency keys), how a refusal is told
// (problem details), and the server around it: TLS, limits, metrics, a shutdown
// that loses no request.
//
// It must not decide what happens to a device, a flow or an account.
package httpapi
