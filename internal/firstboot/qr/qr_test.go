// SPDX-License-Identifier: Apache-2.0

package qr_test

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/firstboot/qr"
)

// photographed draws a code's text as a terminal shows it: light blocks on dark.
func photographed(t *testing.T, text string) string {
	t.Helper()
	const module = 6
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	img := image.NewGray(image.Rect(0, 0, len([]rune(lines[0]))*module, len(lines)*2*module))
	light := func(x, y int) {
		for dy := range module {
			for dx := range module {
				img.SetGray(x*module+dx, y*module+dy, color.Gray{Y: 230})
			}
		}
	}
	for y, line := range lines {
		for x, r := range []rune(line) {
			if r == '█' || r == '▀' {
				light(x, 2*y)
			}
			if r == '█' || r == '▄' {
				light(x, 2*y+1)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "code.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPhoneReadsWhatATerminalShows(t *testing.T) {
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Skip("zbarimg is not installed: test/deps.sh test")
	}
	for _, content := range []string{"4815162342", "https://account.example.org/approve?user_code=BDFH-KLMN"} {
		out, err := exec.Command("zbarimg", "-q", "--raw", photographed(t, qr.Text(content))).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != content {
			t.Errorf("read %q, %v; want %q", got, err, content)
		}
	}
}

func TestTheCodeIsAPictureWithoutAnythingElse(t *testing.T) {
	svg := qr.SVG("4815162342")
	if !strings.HasPrefix(svg, "<svg ") || !strings.HasSuffix(svg, "</svg>") || strings.Contains(svg, "style") || strings.Contains(svg, "script") {
		t.Errorf("the picture: %.200s", svg)
	}
}

func TestWhatDoesNotFitIsNotDrawn(t *testing.T) {
	if qr.Text(strings.Repeat("x", 4000)) != "" || qr.SVG(strings.Repeat("x", 4000)) != "" {
		t.Error("something was drawn")
	}
}
