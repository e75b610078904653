// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/accountlock/accountlock/internal/service/config"
	"github.com/accountlock/accountlock/internal/service/federation"
	"github.com/accountlock/accountlock/internal/service/files"
)

// federationOf returns the sign-in by the configured identity provider; nil for none.
func federationOf(c config.Config, db federation.DB) (*federation.Service, error) {
	if c.OIDC.Issuer == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	secret, err := files.Read(c.OIDC.ClientSecretFile, 4096)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	f := federation.Config{
		DB: db, Issuer: c.OIDC.Issuer, Name: c.OIDC.Name, PublicURL: strings.TrimSuffix(c.PublicURL, "/"),
		ClientID: c.OIDC.ClientID, ClientSecret: strings.TrimRight(string(secret), "\r\n"),
	}
	if c.OIDC.CAFile != "" {
		pem, err := files.Read(c.OIDC.CAFile, 1<<20)
		if err != nil {
			return nil, err
		}
		f.Roots = x509.NewCertPool()
		if !f.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", c.OIDC.CAFile)
		}
	}
	return federation.New(f), nil
}
