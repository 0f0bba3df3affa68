package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/admit-auth/admit"
)

// Text-message fraud: somebody has codes sent, by the thousand, to numbers of a network
// that shares what they cost with him. What stops it is money: how much may be spent
// on whom who has not yet shown that codes arrive there.

// ErrTexts is told whatever budget is spent, and whether the number is known or
// not.
var ErrTexts = admit.RateLimited.New("texts_spent", "No text message can be sent there just now.").
	WithHint("Wait a little, or use an e-mail address.")

// Money is millionths of the unit that prices are told in.
type Money int64

// Unit of money, such as a US dollar.
const Unit Money = 1_000_000

// A TextBudget says what may be spent on text messages. The zero value bounds
// nothing.
type TextBudget struct {
	Hour, Day Money            // in an hour of the clock, and in 24 of them
	Prices    map[string]Money // of a text, by country code; others are Dear
	Dry       bool             // nothing is refused: what would be is only told
}

// Dear is the price of a text to a country without one.
const Dear = Unit * 30 / 100

// Prices are about what texts cost in 2026, for those countries that most people live in or
// that most codes go to.
var Prices = map[string]Money{
	"1": 10_000, "7": 150_000, "27": 30_000, "30": 80_000, "31": 100_000, "32": 100_000, "33": 80_000, "34": 80_000, "39": 90_000,
	"41": 80_000, "43": 100_000, "44": 50_000, "45": 60_000, "46": 70_000, "47": 80_000, "48": 40_000, "49": 110_000, "52": 50_000,
	"54": 80_000, "55": 40_000, "60": 60_000, "61": 60_000, "64": 90_000, "65": 50_000, "66": 30_000, "81": 90_000, "82": 50_000,
	"86": 50_000, "90": 20_000, "91": 90_000, "351": 50_000, "353": 80_000, "358": 80_000, "852": 70_000, "886": 70_000, "971": 90_000,
}

// What may be open: codes that were sent and not proved. Those that are proved give
// back what they took, so that thousands behind one address are not kept out.
const (
	openTarget  = 3 // to one number, in an hour
	openADay    = 8 // to one number, in a day
	openAddress = 6 // from one network of a client, in two hours

	prefixLen = 4 // digits after the country code: what one operator has, mostly

	trialEvery = 10 * time.Minute // one text goes while a breaker is open; each hour where none ever came back
)

// Texts are what has been sent, by key and hour of the clock.
type Texts interface {
	// Texted adds up from one hour to another.
	Texted(key string, from, to int64) (TextCount, error)
	// AddTexts adds to an hour's row.
	AddTexts(key string, hour int64, n TextCount) error
	// SweepTexts removes up to limit rows of hours before one.
	SweepTexts(hour int64, limit int) (int, error)
}

// A TextCount is what texts have come to.
type TextCount struct {
	Spent        Money
	Sent, Proved int
	Last         time.Time // when the last one was sent
}

// open is how many were not proved.
func (n TextCount) open() int { return max(0, n.Sent-n.Proved) }

// good reports whether codes have been coming back.
func (n TextCount) good() bool { return n.Proved >= 5 && n.Proved*100 >= n.Sent*40 }

// bad reports whether codes do not come back.
func (n TextCount) bad(least int) bool { return n.Sent >= least && n.Proved*100 < n.Sent*30 }

// A TextRefusal says why a text is not sent, to whoever runs the server.
type TextRefusal struct {
	Why    string // the budget: address, target, prefix, country, hour, day or notices; or the breaker: prefix_conversion, country_conversion
	Prefix string // of the number
	Dry    bool   // it was sent all the same
}

func (r *TextRefusal) Error() string { return "no text to " + r.Prefix + "…: " + r.Why }

// Unwrap is what strangers are told.
func (r *TextRefusal) Unwrap() error { return ErrTexts }

func hourOf(now time.Time) int64 { return now.Unix() / 3600 }

func prefixOf(number string) string {
	return number[1:min(len(number), 1+len(CountryCode(number))+prefixLen)]
}

// price is what a text to a number costs.
func (b TextBudget) price(number string) Money {
	if price, ok := b.Prices[CountryCode(number)]; ok {
		return price
	}
	return Dear
}

// textKeys are the keys of a text. Names of people and their addresses stand in no
// row.
func (s *Service) textKeys(number string, from Origin) (prefix, country, target, address string) {
	return "prefix:" + prefixOf(number), "country:" + CountryCode(number), s.keyOf("text to " + number), s.keyOf("text from " + from.network())
}

// takeText decides whether a text may be posted, and counts it, in the transaction that
// posts it. It is called alike where nothing will be sent, because the number is
// nobody's: what it answers tells nothing of that.
func (s *Service) takeText(tx Tx, number string, from Origin, now time.Time) error {
	b := s.o.Texts
	if b.Hour == 0 {
		return nil
	}
	price := b.price(number)
	why, to, err := s.whyNoText(tx, b, number, price, from, now)
	if err != nil {
		return err
	}
	prefix, country, target, address := s.textKeys(number, from)
	if why != "" {
		r := &TextRefusal{Why: why, Prefix: prefix[len("prefix:"):], Dry: b.Dry}
		if !b.Dry {
			return r
		}
		s.o.NoText(*r)
	}
	for _, key := range []string{"all", string(to), prefix, country, target, address} {
		if key == "" {
			continue // a dry run, which stopped before
		}
		if err := tx.AddTexts(key, hourOf(now), TextCount{Spent: price, Sent: 1, Last: now}); err != nil {
			return err
		}
	}
	return nil
}

// A textPool is what is known of where a text goes. Each has a pool of its own, so that an
// attack on a thousand new ranges takes nothing from people of old ones.
type textPool string

const (
	arrives textPool = "pool:arrives" // codes to this prefix come back: whatever is left
	abroad  textPool = "pool:abroad"  // to others of the country they do: a quarter
	nowhere textPool = "pool:nowhere" // to none of the country: another quarter
)

// whyNoText names the budget that has nothing left, or "", and what stands against it.
func (s *Service) whyNoText(tx Tx, b TextBudget, number string, price Money, from Origin, now time.Time) (why string, to textPool, err error) {
	hour := hourOf(now)
	prefix, country, target, address := s.textKeys(number, from)
	count := func(key string, hours int64) (n TextCount) {
		if err == nil {
			n, err = tx.Texted(key, hour-hours+1, hour)
		}
		return n
	}
	// closed reports whether a breaker is open: codes do not come back, and the last
	// trial was just now. It closes by itself as trials come back, or as time goes by.
	closed := func(key string, least int) bool {
		n, every := count(key, 3), trialEvery
		if day := count(key, 24); day.Proved == 0 {
			n, every, least = day, time.Hour, least/2
		}
		// After a clock was set back the last one lies ahead, and keeps nobody waiting.
		since := now.Sub(n.Last)
		return n.bad(least) && since >= 0 && since < every
	}
	// First what refuses most of an attack.
	switch {
	case count(address, 2).open() >= openAddress:
		return "address", to, err
	case count(target, 1).open() >= openTarget || count(target, 24).open() >= openADay:
		return "target", to, err
	case closed(prefix, 10):
		return "prefix_conversion", to, err
	}
	to = arrives
	if !count(prefix, 24).good() {
		if to = abroad; !count(country, 24).good() {
			to = nowhere
		}
		switch {
		case closed(country, 20):
			return "country_conversion", to, err
		// At least so that it can be seen whether codes arrive.
		case count(prefix, 1).Spent+price > max(b.Hour/20, 5*price):
			return "prefix", to, err
		case count(country, 1).Spent+price > max(b.Hour/8, 5*price):
			return "country", to, err
		case count(string(to), 1).Spent+price > b.Hour/4:
			return "hour", to, err
		case count(string(to), 24).Spent+price > b.Day/4:
			return "day", to, err
		}
	}
	switch {
	case count("all", 1).Spent+price > b.Hour:
		return "hour", to, err
	case count("all", 24).Spent+price > b.Day:
		return "day", to, err
	}
	return "", to, err
}

// provedText counts a code that came back, in the transaction that takes it.
func (s *Service) provedText(tx Tx, number string, from Origin, now time.Time) error {
	if s.o.Texts.Hour == 0 {
		return nil
	}
	prefix, country, target, address := s.textKeys(number, from)
	for _, key := range []string{prefix, country, target, address} {
		if err := tx.AddTexts(key, hourOf(now), TextCount{Proved: 1}); err != nil {
			return err
		}
	}
	return nil
}

// noticesADay are the notices that go to one number in a day. Whoever owns a number
// that pays could change his account all day long, and have each change told there.
// The first ones are told, and the way back of the oldest undoes all.
const noticesADay = 12

// notify posts what tells somebody of a change. Nobody proves a notice: what it costs
// counts in the sum, and tells nothing of whether codes arrive. That the sum is spent
// silences none: it would be a lever of thieves.
func (s *Service) notify(tx Tx, l letter, now time.Time) error {
	b := s.o.Texts
	if b.Hour == 0 || channelOf(l.to) != Phone.Channel() {
		return s.post(tx, l, now)
	}
	hour, key := hourOf(now), s.keyOf("notice to "+l.to)
	n, err := tx.Texted(key, hour-23, hour)
	if err != nil {
		return err
	}
	if n.Sent >= noticesADay {
		r := TextRefusal{Why: "notices", Prefix: prefixOf(l.to), Dry: b.Dry}
		s.o.NoText(r)
		if !b.Dry {
			return nil
		}
	}
	if err := tx.AddTexts(key, hour, TextCount{Sent: 1, Last: now}); err != nil {
		return err
	}
	if err := tx.AddTexts("all", hour, TextCount{Spent: b.price(l.to), Last: now}); err != nil {
		return err
	}
	return s.post(tx, l, now)
}

// noText tells why no text was sent, where that is what went wrong, and returns what
// strangers are told. The audit has one record an hour of each reason and prefix.
func (s *Service) noText(ctx context.Context, err error, from Origin, now time.Time) error {
	r, is := errors.AsType[*TextRefusal](err)
	if !is {
		return err
	}
	s.o.NoText(*r)
	err = &admit.RetryError{After: trialEvery, Err: ErrTexts}
	if s.o.Limiter.Take("no text: "+r.Why+" "+r.Prefix, Budget{1, time.Hour}, now) > 0 {
		return err
	}
	return errors.Join(err, s.record(ctx, Record{At: now, Event: "text_refused", Detail: fmt.Sprintf("%s %s", r.Why, r.Prefix)}, from))
}

// SweepTexts forgets up to a step of what was counted in hours that no budget looks
// at, and reports whether there may be more.
func (s *Service) SweepTexts(ctx context.Context, now time.Time) (more bool, err error) {
	const step = 500
	err = s.store.Update(ctx, func(tx Tx) error {
		n, err := tx.SweepTexts(hourOf(now)-25, step)
		more = n == step
		return err
	})
	return more, err
}
