package account

import "strings"

// Phone numbers: E.164, as a plus and 8 to 15 digits. Which numbers of a country
// are in use changes each week and is nobody's to know but the network's: whether
// one is somebody's shows when a code comes back.

// countryCodes are those that E.164 gives to countries and territories. What is
// assigned to none of them — satellites, freephone, premium services of the world —
// costs a hundred times as much, and is what text-message fraud likes most.
const countryCodes = " 1 7 " +
	"20 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 " +
	"240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 27 290 291 297 298 299 " +
	"30 31 32 33 34 350 351 352 353 354 355 356 357 358 359 36 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 39 " +
	"40 41 420 421 423 43 44 45 46 47 48 49 " +
	"500 501 502 503 504 505 506 507 508 509 51 52 53 54 55 56 57 58 590 591 592 593 594 595 596 597 598 599 " +
	"60 61 62 63 64 65 66 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 " +
	"81 82 84 850 852 853 855 856 86 880 886 90 91 92 93 94 95 " +
	"960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 98 992 993 994 995 996 998 "

// parsePhone returns a number as it is kept: a plus and digits. People write it
// with spaces, dashes, dots, slashes and brackets, with a zero in brackets that is
// dialled at home only, and with the wide digits of Chinese keyboards.
func parsePhone(s string) (string, error) {
	// No country code is followed by a zero that "(0)" would stand for.
	s = strings.ReplaceAll(strings.Map(narrow, s), "(0)", "")
	digits := strings.Map(func(c rune) rune {
		if strings.ContainsRune(" -./()\u00a0\u3000", c) {
			return -1
		}
		return c
	}, strings.TrimPrefix(s, "+"))
	if len(digits) < 8 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" || CountryCode("+"+digits) == "" {
		return "", ErrPhoneMalformed
	}
	return "+" + digits, nil
}

// narrow makes a wide digit, or sign, a narrow one.
func narrow(c rune) rune {
	if c >= '！' && c <= '～' {
		return c - '！' + '!'
	}
	return c
}

// CountryCode returns the country code that a number begins with, or "".
func CountryCode(number string) string {
	for n := 2; n <= 4 && n <= len(number); n++ {
		if strings.Contains(countryCodes, " "+number[1:n]+" ") {
			return number[1:n]
		}
	}
	return ""
}
