package db_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/limit"
)

// The trace is made from this seed, and is the same in every run.
const fraudSeed = 20261126

// An ask is a request for a code: at a time of the day, for a number, from an address.
type ask struct {
	at      time.Duration
	number  string
	address string
	honest  bool
	tries   int
}

type asks []*ask

func (a asks) Len() int           { return len(a) }
func (a asks) Less(i, j int) bool { return a[i].at < a[j].at }
func (a asks) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *asks) Push(x any)        { *a = append(*a, x.(*ask)) }
func (a *asks) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// Where people of the service have their phones: operators of three countries.
var homes = []string{"861381", "861390", "861590", "861777", "4915112", "4917034", "141555", "120655", "164655"}

// Where nobody of it has one, and a text costs most: ranges that are rented out.
var rented = []string{"9607", "37167", "25261", "25290", "99655", "67572", "21696", "23230", "25779", "26134", "93702", "24174", "22996", "59169", "50933"}

// fraud is the trace of a day: 100,000 requests of a fraud from 3,000 addresses, on
// ranges that pay, on unused ones of the home countries, and a few among the people;
// and 600 people. Where part is more than one, so much less of each.
func fraud(part int) (all asks, people []string) {
	r := rand.New(rand.NewPCG(fraudSeed, uint64(part)))
	const day = 24 * time.Hour
	when := func() time.Duration { return time.Duration(r.Int64N(int64(day))) }
	digits := func(prefix string, n int) string {
		for len(prefix) < n {
			prefix += fmt.Sprint(r.IntN(10))
		}
		return "+" + prefix
	}
	for range 100_000 / part {
		number := ""
		switch x := r.IntN(1000); {
		case x < 5:
			number = digits(homes[r.IntN(len(homes))], 11+r.IntN(2))
		case x < 110:
			number = digits([]string{"86", "49", "1"}[r.IntN(3)], 12)
		default:
			number = digits(rented[r.IntN(len(rented))], 11)
		}
		n := r.IntN(3000)
		all = append(all, &ask{at: when(), number: number, address: fmt.Sprintf("10.%d.%d.%d", n%7, n/250, n%250)})
	}
	for n := range 600 / part {
		prefix := homes[r.IntN(len(homes))]
		if n%40 == 0 { // an operator of whom nobody was there before
			prefix = []string{"86", "49", "1"}[r.IntN(3)]
		}
		number := digits(prefix, 12)
		address := fmt.Sprintf("172.16.%d.%d", n/250, n%250)
		if n%5 == 0 {
			address = "172.31.0.1" // of a provider, for very many
		}
		people = append(people, number)
		all = append(all, &ask{at: when(), number: number, address: address, honest: true})
	}
	heap.Init(&all)
	return all, people
}

func TestTextFraudSpendsNoMoreThanItsBudgetAndPeopleGetTheirCodes(t *testing.T) {
	part := 20
	if os.Getenv("ATTACKS") == "full" {
		part = 1
	}
	d := database(t)
	ring, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	budget := account.TextBudget{Hour: 20 * account.Unit, Day: 100 * account.Unit, Prices: account.Prices}
	budget.Hour, budget.Day = budget.Hour/account.Money(part)*2, budget.Day/account.Money(part)*2
	if part == 1 {
		budget.Hour, budget.Day = 20*account.Unit, 100*account.Unit
	}
	refused := map[string]int{}
	s, err := account.New(d, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: ring, CanText: true, PublicURL: "https://id.example.org", Signing: newSigning(t),
		Texts: budget, NoText: func(r account.TextRefusal) { refused[r.Why]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	all, people := fraud(part)
	begun := time.Now().Truncate(time.Hour)
	for n, number := range people {
		err := d.Update(t.Context(), func(tx account.Tx) error {
			return tx.PutUser(&account.User{ID: fmt.Sprint("person", n), CreatedAt: begun, Identifiers: []account.Identifier{{Value: number, Kind: account.Phone, Verified: true, Primary: true}}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	spent := map[int64]account.Money{}
	var total, onFraud account.Money
	var hostile, hostileSent, in int
	codes := map[string]string{}
	for len(all) > 0 {
		a := heap.Pop(&all).(*ask)
		now := begun.Add(a.at)
		from := account.Origin{Address: a.address}
		if !a.honest {
			hostile++
		}
		flow, err := s.AskSignIn(t.Context(), a.number, false, from, now)
		if err != nil {
			if !errors.Is(err, account.ErrTexts) && !errors.Is(err, account.ErrTooMany) {
				t.Fatal(err)
			}
			if a.tries++; a.honest && a.tries < 3 { // as the page says
				a.at += 11 * time.Minute
				heap.Push(&all, a)
			}
			continue
		}
		_, err = s.Deliver(t.Context(), now, func(_ context.Context, m account.Message) error {
			price, ok := account.Prices[account.CountryCode(m.To)]
			if !ok {
				price = account.Dear
			}
			spent[now.Unix()/3600] += price
			total += price
			if !a.honest {
				onFraud += price
				hostileSent++
			}
			codes[m.To] = m.Code
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !a.honest {
			continue
		}
		if _, _, err := s.VerifySignIn(t.Context(), flow, codes[a.number], from, now.Add(time.Minute)); err != nil {
			t.Fatalf("the code of %s: %v", a.number, err)
		}
		in++
	}
	for hour, money := range spent {
		if money > budget.Hour {
			t.Errorf("%d millionths in hour %d, of %d", money, hour, budget.Hour)
		}
	}
	t.Logf("%d hostile requests: %d texts, %.2f; %d of %d people in; %.2f in all of %.2f; refused %v",
		hostile, hostileSent, float64(onFraud)/1e6, in, len(people), float64(total)/1e6, float64(budget.Day)/1e6, refused)
	if total > budget.Day {
		t.Errorf("a day has cost %d millionths of %d", total, budget.Day)
	}
	if in*100 < len(people)*95 {
		t.Errorf("%d of %d people got in", in, len(people))
	}
}
