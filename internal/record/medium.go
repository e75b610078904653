// SPDX-License-Identifier: Apache-2.0

package record

import "io"

// medium is where the two slots of a store lie: a file, a partition, or the data
// block of an Android-like one. Whatever a store does outside of the process, it
// does through one.
type medium interface {
	// open opens the slots: for reading, or for writing under a lock that keeps
	// every other writer out until they are closed. errAbsent: there is no store,
	// and there could be one. ErrBusy: somebody else is writing. Any other error:
	// the medium cannot be read, or what is there is no store.
	open(write bool) (slots, error)
	// create makes a store of the two slots of image where there is none, or, with
	// old, in the place of the one that old has open for writing. A power cut
	// leaves what was there or all of it. ErrBusy as above.
	create(image []byte, old slots) error
	// anchor makes sure that a store that was made is found again after a power
	// cut.
	anchor() error
	// mend puts right what a power cut left beside the slots, for others who read
	// there. It touches no slot.
	mend() error
}

// slots is an open medium. Offset 0 is the first byte of the first slot, and the
// second one follows it. Reads and writes stay within one of them, save for those
// of the medium itself.
type slots interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// size returns how many bytes there are. A store has storeSize.
	size() (int64, error)
	// flush returns when everything written is on the medium, and sees to it
	// that reading comes from there.
	flush() error
	// await returns once nobody is writing.
	await() error
}
