// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/accountlock/accountlock/test/bus"
)

// onPartition lays the record on a partition.
func onPartition(scheme string) option {
	return func(r *rig) []bus.Option {
		r.scheme = scheme
		return nil
	}
}

// sealed reports whether the digest of Android's layout is right.
func sealed(partition []byte) bool {
	sum := sha256.Sum256(append(make([]byte, 32), partition[32:]...))
	return bytes.Equal(sum[:], partition[:32])
}

// A thief who writes what they like on the partition, resets the device, and lets it
// ask the account service.
func TestAThiefWithThePartitionGetsNowhere(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		t.Run(scheme, func(t *testing.T) {
			r := newRig(t, onPartition(scheme))
			r.run("Link")
			r.Reset()
			r.wantState("locked factory-reset")
			r.StopDaemon()
			linked := r.store()
			base := 0
			if scheme == "pdb" {
				base = 4096
			}
			for _, c := range []struct {
				name  string
				steal func(b []byte) []byte
				want  string
			}{
				{"wiped", func(b []byte) []byte { return make([]byte, len(b)) }, "locked record-missing"},
				{"erased as flash", func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }, "locked record-missing"},
				{"marked as in the making", func(b []byte) []byte {
					copy(b[base+16384:], "accountlock store in the making\n")
					return b
				}, "locked record-missing"},
				{"garbage", func(b []byte) []byte {
					_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
					return b
				}, "locked record-damaged"},
				{"one slot wiped, the other one damaged", func(b []byte) []byte {
					clear(b[base : base+8192])
					b[base+32768+100] ^= 1
					return b
				}, "locked record-damaged"},
				{"cut short", func(b []byte) []byte { return b[:len(b)-512] }, "locked record-damaged"},
				{"emptied", func([]byte) []byte { return nil }, "locked record-damaged"},
				{"the header wiped", func(b []byte) []byte { clear(b[:min(base, 40)]); return b }, "locked factory-reset"},
			} {
				t.Log(c.name)
				r.putStore(c.steal(bytes.Clone(linked)))
				r.wipe()
				r.StartDaemon()
				r.wantState(c.want)
				_ = r.Call("CheckIn") // the service says that the device is linked, or the answer is refused
				if state := r.Property("State").Value(); state != "locked" {
					t.Fatalf("after a check-in it is %v", state)
				}
				r.StopDaemon()
			}
			// The owner is not kept out by what the thief left.
			r.putStore(make([]byte, len(linked)))
			r.wipe()
			r.StartDaemon()
			r.run("Unlock")
			r.wantState("linked")
			if scheme == "pdb" && !sealed(r.store()) {
				t.Error("an Android would not take the partition")
			}
			r.Reset()
			r.wantState("locked factory-reset")
			// What a power cut between slot and digest leaves, the next start mends.
			r.StopDaemon()
			torn := r.store()
			torn[0] ^= 1
			r.putStore(torn)
			r.StartDaemon()
			r.wantState("locked factory-reset")
			r.StopDaemon()
			if scheme == "pdb" && !sealed(r.store()) {
				t.Error("the digest was not mended")
			}
		})
	}
}
