// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/stub"
	"github.com/accountlock/accountlock/internal/service/support"
)

// OpenCase implements stub.StrictServerInterface.
func (h handlers) OpenCase(ctx context.Context, r stub.OpenCaseRequestObject) (stub.OpenCaseResponseObject, error) {
	if h.cases == nil {
		return nil, narrowed(http.StatusNotFound, "Support of this account service has no cases.")
	}
	a := support.Asked{Challenge: value(r.Body.Challenge), Region: value(r.Body.Region), Locale: value(r.Body.Locale)}
	c, err := h.cases.ForDevice(ctx, askedOf(ctx).caller, a)
	if err != nil {
		return nil, err
	}
	h.notices.Kick()
	return stub.OpenCase200JSONResponse{CaseNumber: c.Number}, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Contact is one way to reach support.
type Contact struct {
	// Region is ISO 3166-1 alpha-2; empty is everywhere. Language is BCP 47; empty is
	// any, or not said.
	Region, Language string
	accountapi.SupportContact
}

// ContactsFor returns the contacts for a region, its own first and then those for
// everywhere; of each those in the language first, then those of no particular one,
// then the others: somebody is better than nobody.
func ContactsFor(all []Contact, region, locale string) []accountapi.SupportContact {
	var mine []Contact
	for _, c := range all {
		if c.Region == "" || c.Region == region {
			mine = append(mine, c)
		}
	}
	rank := func(c Contact) int {
		n := 0
		if c.Region == "" {
			n = 3
		}
		switch {
		case c.Language == "":
			return n + 1
		case locale == "" || !speaks(c.Language, locale):
			return n + 2
		}
		return n
	}
	slices.SortStableFunc(mine, func(a, b Contact) int { return rank(a) - rank(b) })
	out := []accountapi.SupportContact{}
	for _, c := range mine {
		out = append(out, c.SupportContact)
	}
	return out
}

// speaks reports whether two names of languages have the same first part, or are
// ones that the same catalog serves.
func speaks(a, b string) bool {
	first := func(s string) string {
		s = strings.ToLower(s)
		if i := strings.IndexAny(s, "-_"); i >= 0 {
			s = s[:i]
		}
		return s
	}
	return first(a) == first(b) || i18n.Match(a) != "en" && i18n.Match(a) == i18n.Match(b)
}
