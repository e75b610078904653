// SPDX-License-Identifier: Apache-2.0

// Package firstboot owns accountlock-firstboot: the one screen that a locked
// device shows. It chooses how to draw (package line for serial consoles and
// screen readers, screen for terminals, kiosk for touch), keeps the terminal from
// being left, and ends when the daemon says that the device is open. It is a
// D-Bus client without any right of its own: nothing that happens to it opens
// anything.
package firstboot
