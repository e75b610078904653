// SPDX-License-Identifier: Apache-2.0

package letter_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/letter"
)

// said are the texts that the service's code marks.
func said(t *testing.T) map[string]bool {
	t.Helper()
	names, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			fn, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fn.Sel.Name != "Mark" {
				return true
			}
			pkg, ok := fn.X.(*ast.Ident)
			text, lit := call.Args[0].(*ast.BasicLit)
			if ok && pkg.Name == "letter" && lit {
				s, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				out[s] = true
			}
			return true
		})
	}
	if len(out) < 40 {
		t.Fatalf("only %d texts were found", len(out))
	}
	return out
}

func TestEveryLanguageSaysEveryLetterWithItsValues(t *testing.T) {
	apitest.WantCatalogs(t, "catalogs", said(t))
}

func TestALetterIsWrittenInTheFirstLanguageThatIsKnown(t *testing.T) {
	for _, c := range []struct {
		wishes    []string
		tag, says string
	}{
		{[]string{"de-AT", "es"}, "de", "Ihr Code"}, {[]string{"", "es"}, "es", "Su código"}, {[]string{"fi", "ru-RU"}, "ru", "Ваш код"},
		{[]string{"en-GB", "de"}, "en", "Your code"}, {nil, "en", "Your code"},
	} {
		tongue := letter.For(c.wishes...)
		if tongue.Tag() != c.tag || tongue.T("Your code") != c.says {
			t.Errorf("%v: %s, %q", c.wishes, tongue.Tag(), tongue.T("Your code"))
		}
	}
	at := time.Date(2031, 4, 5, 14, 30, 0, 0, time.UTC)
	if got := letter.For("de").Moment(at); got != "Samstag, 5. April 2031, 14:30 Uhr UTC" {
		t.Errorf("a German date is %q", got)
	}
	if got := letter.For("en").T("The account ID is {1}.", "12345678"); got != "The account ID is 12345678." {
		t.Errorf("%q", got)
	}
}
