// SPDX-License-Identifier: Apache-2.0

package config

import "net/url"

// OIDC names the identity provider that signs people in, in place of our passwords; the
// zero value is none.
type OIDC struct {
	// Issuer is the provider's identifier, an https URL under which it says the rest
	// of itself (OpenID Connect Discovery 1.0).
	Issuer string `toml:"issuer"`
	// Name is what people call it.
	Name string `toml:"name"`
	// ClientID and the file with the secret are what it knows this service by.
	ClientID         string `toml:"client_id"`
	ClientSecretFile string `toml:"client_secret_file"`
	// CAFile has the authorities of its certificate (PEM); empty is the system's.
	CAFile string `toml:"ca_file"`
}

func (o OIDC) check() error {
	if o == (OIDC{}) {
		return nil
	}
	for _, must := range []struct{ name, value string }{
		{"oidc.issuer", o.Issuer}, {"oidc.name", o.Name}, {"oidc.client_id", o.ClientID}, {"oidc.client_secret_file", o.ClientSecretFile},
	} {
		if must.value == "" {
			return bad(must.name + " must be given")
		}
	}
	if u, err := url.Parse(o.Issuer); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("oidc.issuer must be an https URL")
	}
	return nil
}
