// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"context"

	tea "charm.land/bubbletea/v2"

	"github.com/accountlock/accountlock/internal/firstboot/session"
)

// Screen is a model without a terminal, for tests.
type Screen struct{ m *model }

// NewScreen makes one of a size that shows a view.
func NewScreen(ctx context.Context, o Options, w, h int, v session.View, err error) *Screen {
	s := &Screen{newModel(ctx, o)}
	s.m.Update(tea.WindowSizeMsg{Width: w, Height: h})
	s.m.Update(looked{v, err})
	return s
}

// Press sends keys as bubbletea names them, or text.
func (s *Screen) Press(keys ...tea.KeyPressMsg) {
	for _, k := range keys {
		s.m.Update(k)
	}
}

// Draw returns what is on the screen.
func (s *Screen) Draw() string { return s.m.render() }

// Typed returns what an input holds.
func (s *Screen) Typed(name string) string { return string(s.m.input(name).bytes()) }

// Resize changes the size.
func (s *Screen) Resize(w, h int) { s.m.Update(tea.WindowSizeMsg{Width: w, Height: h}) }

// Command returns what a key has bubbletea do.
func (s *Screen) Command(k tea.KeyPressMsg) tea.Cmd {
	_, cmd := s.m.Update(k)
	return cmd
}
