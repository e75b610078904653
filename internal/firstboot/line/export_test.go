// SPDX-License-Identifier: Apache-2.0

package line

import "github.com/accountlock/accountlock/internal/firstboot/page"

// Render returns a page as it is printed.
func (m *Mode) Render(p page.Page) string { return m.render(p) }
