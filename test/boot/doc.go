// SPDX-License-Identifier: Apache-2.0

// Package boot boots real systems with the project's packages installed and
// looks at who could get in. It has two tiers: a container of systemd-nspawn,
// which boots in a second, and a virtual machine of QEMU, which has a kernel
// command line, disks and a serial console of its own. Both boot the same
// Debian image, made by mmdebstrap and kept.
//
// The account service is `accountlock-server dev` outside the device, in a
// network namespace that device and service share and nothing else is in.
//
// It needs root, and says which tier may run by ACCOUNTLOCK_BOOT: `fast`,
// `full` (both) or, where it is not set, none. `make boot-test` and `make
// boot-test-fast` set it and what else is needed.
package boot
