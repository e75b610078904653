// SPDX-License-Identifier: Apache-2.0

package config

// Identity names whose word counts when a device proves which hardware it is.
type Identity struct {
	// TPMMakers holds the certificates (PEM) that endorsement certificates must
	// descend from; without it every TPM is taken for one, an emulated one too.
	TPMMakers string `toml:"tpm_makers_file"`
	// VendorKeys holds the public Ed25519 keys (PEM) that sign enrolment tokens.
	VendorKeys string `toml:"vendor_keys_file"`
}
