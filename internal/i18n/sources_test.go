// SPDX-License-Identifier: Apache-2.0

package i18n_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// source is an English text that a person may read, as the code has it: with
// its values in braces or, where the code fills them in itself, as {}.
type source struct {
	text, where string
	// filled: it reaches the catalog with its values filled in.
	filled bool
}

// sources reads the code for what it says to people.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	root := filepath.Join("..", "..")
	for _, dir := range []string{"internal/firstboot", "internal/busclient", "internal/fault", "internal/flow", "internal/bus", "internal/accountapi/client", "internal/diagnose", "internal/netcheck", "internal/daemon"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || d.IsDir():
				return err
			case strings.HasSuffix(path, ".html"):
				out = append(out, fromTemplate(t, path)...)
			case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "pagetest"):
				out = append(out, fromCode(t, path)...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var inTemplate = regexp.MustCompile(`\bT "((?:[^"\\]|\\.)*)"`)

func fromTemplate(t *testing.T, path string) []source {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	for _, m := range inTemplate.FindAllStringSubmatch(string(raw), -1) {
		text, err := strconv.Unquote(`"` + m[1] + `"`)
		if err != nil {
			t.Fatalf("%s: %s", path, m[0])
		}
		out = append(out, source{text: text, where: path})
	}
	return out
}

// sayers are the functions whose arguments, from the given one on, people read.
var sayers = map[string]struct {
	from   int
	filled bool
}{
	"T": {0, false}, "Mark": {0, false},
	"Failed": {1, true}, "Cancelled": {0, true}, "Unavailable": {1, true},
	"Newf": {1, true},
}

// keys are the fields of a Prompt that people read.
var promptKeys = map[string]bool{"Title": true, "Text": true, "Consequences": true}

func fromCode(t *testing.T, path string) []source {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	add := func(e ast.Expr, filled bool) {
		if text, ok := english(e); ok && (strings.Contains(text, " ") || strings.HasSuffix(text, ".") || !filled) {
			out = append(out, source{text, set.Position(e.Pos()).String(), filled})
		}
	}
	prompts := strings.Contains(path, "internal/flow/")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			s, ok := sayers[called(n)]
			if !ok {
				return true
			}
			for i := s.from; i < len(n.Args); i++ {
				add(n.Args[i], s.filled)
				if called(n) == "T" || called(n) == "Newf" {
					break // values follow
				}
			}
		case *ast.KeyValueExpr:
			key, _ := n.Key.(*ast.Ident)
			if prompts && key != nil && promptKeys[key.Name] {
				if list, ok := n.Value.(*ast.CompositeLit); ok {
					for _, e := range list.Elts {
						add(e, true)
					}
					return true
				}
				add(n.Value, true)
			}
		case *ast.BasicLit:
			// The diagnosis keeps its sentences in tables of several shapes.
			if text, ok := english(n); ok && diagnosis.MatchString(path) && sentenceForm.MatchString(text) {
				add(n, true)
			}
		case *ast.ValueSpec:
			if len(n.Names) == 1 && (n.Names[0].Name == "texts" || prompts && strings.HasSuffix(n.Names[0].Name, "itles") || n.Names[0].Name == "outcomeTexts") {
				ast.Inspect(n, func(n ast.Node) bool {
					if kv, ok := n.(*ast.KeyValueExpr); ok {
						add(kv.Value, true)
						if list, ok := kv.Value.(*ast.CompositeLit); ok {
							for _, e := range list.Elts {
								add(e, true)
							}
						}
					}
					return true
				})
			}
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				sel, ok := l.(*ast.SelectorExpr)
				if !ok || i >= len(n.Rhs) || (!prompts || !promptKeys[sel.Sel.Name]) && sel.Sel.Name != "Message" && sel.Sel.Name != "Remedy" {
					continue
				}
				if more, ok := n.Rhs[i].(*ast.CallExpr); ok && called(more) == "append" {
					for _, e := range more.Args[1:] {
						add(e, true)
					}
				}
				add(n.Rhs[i], true)
			}
		}
		return true
	})
	return out
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

var (
	diagnosis    = regexp.MustCompile(`internal/(diagnose|netcheck|daemon/report)`)
	sentenceForm = regexp.MustCompile(`^[A-Z][^\r\n]* [^\r\n]*\.$`)
)

var verb = regexp.MustCompile(`%(\.\d+)?[a-z]`)

// english returns a text with {} for each value of it.
func english(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return verb.ReplaceAllString(strings.ReplaceAll(s, "HOST", "{}"), "{}"), err == nil && s != ""
	case *ast.BinaryExpr:
		a, aok := english(e.X)
		b, bok := english(e.Y)
		if !aok && !bok {
			return "", false
		}
		if !aok {
			a = "{}"
		}
		if !bok {
			b = "{}"
		}
		return a + b, true
	case *ast.ParenExpr:
		return english(e.X)
	}
	return "", false
}
