// SPDX-License-Identifier: Apache-2.0

package device

import (
	"os"
	"path/filepath"
	"strings"
)

// secureBoot is the firmware's variable (UEFI 2.10, 3.3): 4 bytes of attributes,
// then 1 for on.
const secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// VerifiedBoot says whether the boot loader verifies what it starts, as far as
// that can be seen from here: on, off or unknown. It vouches for nothing: what
// was started says it of itself.
func (m Machine) VerifiedBoot() string {
	if b, err := os.ReadFile(filepath.Join("/", m.Root, secureBoot)); err == nil && len(b) == 5 {
		if b[4] == 1 {
			return "on"
		}
		return "off"
	}
	for _, word := range strings.Fields(m.commandLine()) {
		switch word {
		case "androidboot.verifiedbootstate=green", "androidboot.verifiedbootstate=yellow":
			return "on"
		case "androidboot.verifiedbootstate=orange", "androidboot.verifiedbootstate=red":
			return "off"
		}
	}
	return "unknown"
}

func (m Machine) commandLine() string {
	b, err := os.ReadFile(filepath.Join("/", m.Root, "proc/cmdline"))
	if err != nil {
		return ""
	}
	return string(b)
}
