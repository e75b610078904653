// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"

	"github.com/accountlock/accountlock/internal/fault"
)

// solved hands in the answer to a captcha. A challenge that has run out, or was
// answered wrong, is replaced, so that the step stays answerable.
func (f *Flow) solved(ctx context.Context, answer string) error {
	err := f.attempt(ctx, Answer{Step: remoteCaptcha, Captcha: answer})
	if fault.CodeOf(err) == fault.CaptchaRequired {
		if again := f.resend(ctx); again != nil {
			f.m.log.Debug("cannot get another captcha", "error", again)
		}
	}
	return err
}
