// SPDX-License-Identifier: Apache-2.0

// Package stub is the account API's server side as generated from
// docs/account-api.yaml. It must hold nothing written by hand but this file.
package stub

//go:generate go tool oapi-codegen -config gen.yaml ../../../docs/account-api.yaml
