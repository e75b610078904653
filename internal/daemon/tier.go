// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"strconv"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// tpmDetails tells what the TPM says of the record, and what of it made the
// state.
func (r *report) tpmDetails(reading record.Reading) map[string]string {
	d := map[string]string{"mode": r.Config.TPM.Mode}
	if r.Config.TPM.Mode != config.TPMOff {
		d["device"] = r.Config.TPM.Device
	}
	d["says"], d["rule"] = tpmWord(reading.TPM), reading.TPM.Rule()
	d["said-at-start"] = tpmWord(r.evidence.TPM)
	if reading.TPMCounter > 0 {
		d["counter"] = strconv.FormatUint(reading.TPMCounter, 10)
	}
	if reading.Counter > 0 {
		d["record-counter"] = strconv.FormatUint(reading.Counter, 10)
	}
	if r := reading.Record; r.HasKey() {
		d["device-key"] = "in the record"
		if len(r.DeviceKeyTPM) > 0 {
			d["device-key"] = "in the TPM"
		}
	}
	if reading.TPMErr != nil {
		d["error"] = reading.TPMErr.Error()
	}
	return d
}

func tpmWord(says lock.TPM) string {
	if says == lock.TPMUnused {
		return "unused"
	}
	return string(says)
}

// checkTier names the tier that the device is at (docs/threat-model.md), and what
// would raise it. Of tier 2 only the firmware's part can be seen from here; the
// rest, and tier 3, are the vendor's to know.
func (r *report) checkTier(reading record.Reading) bus.Check {
	c := bus.Check{Name: "tier", Result: "warning", Details: map[string]string{"tier": "0", "verified-boot": device.Machine{}.VerifiedBoot()}}
	mode := r.Config.TPM.Mode
	switch says := reading.TPM; {
	case mode == config.TPMOff:
		c.Message = "Tier 0: the record is bound to no TPM; whoever can write it while the device is off can forge it."
		c.Details["raise"] = "Tier 1 needs a TPM 2.0 and [tpm] mode = \"require\"; [tpm] mode is \"off\"."
	case says == lock.TPMUnused:
		c.Message = "Tier 0: there is no TPM at " + r.Config.TPM.Device + "; whoever can write the record while the device is off can forge it."
		c.Details["raise"] = "Tier 1 needs a TPM 2.0 there and [tpm] mode = \"require\"."
	case says == lock.TPMVouches && mode == config.TPMRequire:
		c.Result, c.Details["tier"] = "ok", "1"
		c.Message = "Tier 1: the record is bound to the TPM; a forged or an older one is found out."
		c.Details["raise"] = "Tier 2 needs verified boot from the firmware to the root filesystem, which is the vendor's; the firmware's part is " + c.Details["verified-boot"] + "."
	case says == lock.TPMVouches:
		c.Message = "Tier 0 against someone who can hide the TPM, tier 1 against others: the record is bound to the TPM, and [tpm] mode is \"auto\"."
		c.Details["raise"] = "Tier 1 needs [tpm] mode = \"require\"."
	case reading.Store == lock.StoreBlank && !says.MayPass():
		c.Message = "Tier 0 until there is a record to bind to the TPM."
	default:
		c.Result = "failed"
		c.Message = "Tier 0: " + says.Rule() + "."
		c.Details["raise"] = "The account check, or the account service's word, binds the record anew; a fault of the TPM has to end first."
	}
	return c
}
