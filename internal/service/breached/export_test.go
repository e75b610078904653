// SPDX-License-Identifier: Apache-2.0

package breached

import "io"

// Find looks a SHA-1 up in a list that is elsewhere than in a file.
func Find(list io.ReaderAt, size int64, sha1 [20]byte) (bool, error) {
	return lines{list, size}.find(sha1)
}
