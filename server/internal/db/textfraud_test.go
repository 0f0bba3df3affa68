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

// quiet is how long the service has been there before the fraud begins.
const quiet = 12 * time.Hour

// fraud is the trace: of a day 100,000 requests of a fraud from 3,000 addresses, on
// ranges that pay, on unused ones of the home countries, and a few among the people;
// and 600 people a day, from before on. It is cut off after some hours of fraud.
func fraud(hours int) (all asks, people []string) {
	r := rand.New(rand.NewPCG(fraudSeed, uint64(hours)))
	lasts := time.Duration(hours) * time.Hour
	digits := func(prefix string, n int) string {
		for len(prefix) < n {
			prefix += fmt.Sprint(r.IntN(10))
		}
		return "+" + prefix
	}
	for range 100_000 * hours / 24 {
		number := ""
		switch x := r.IntN(1000); {
		case x < 5:
			number = digits(homes[r.IntN(len(homes))], 12)
		case x < 110:
			number = digits([]string{"86", "49", "1"}[r.IntN(3)], 12)
		default:
			number = digits(rented[r.IntN(len(rented))], 11)
		}
		n := r.IntN(3000)
		all = append(all, &ask{at: quiet + time.Duration(r.Int64N(int64(lasts))), number: number, address: fmt.Sprintf("10.%d.%d.%d", n%7, n/250, n%250)})
	}
	for n := range 25 * (hours + int(quiet.Hours())) {
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
		all = append(all, &ask{at: time.Duration(r.Int64N(int64(quiet + lasts))), number: number, address: address, honest: true})
	}
	heap.Init(&all)
	return all, people
}

func TestTextFraudSpendsNoMoreThanItsBudgetAndPeopleGetTheirCodes(t *testing.T) {
	hours := 1
	if os.Getenv("ATTACKS") == "full" {
		hours = 24
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
	refused := map[string]int{}
	s, err := account.New(d, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: ring, CanText: true, PublicURL: "https://id.example.org", Signing: newSigning(t),
		Texts: budget, NoText: func(r account.TextRefusal) { refused[r.Why]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	all, people := fraud(hours)
	begun := time.Now().Truncate(time.Hour)
	for n, number := range people {
		err := d.Update(t.Context(), func(tx account.Tx) error {
			return tx.PutUser(&account.User{ID: fmt.Sprint("person", n), CreatedAt: begun, Identifiers: []account.Identifier{{Value: number, Kind: account.Phone, Verified: true, Primary: true}}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	spent := map[int64]account.Money{} // by hour
	var total, onFraud account.Money
	var hostile, hostileSent, hurt, hurtIn int
	codes := map[string]string{}
	for len(all) > 0 {
		a := heap.Pop(&all).(*ask)
		now := begun.Add(a.at)
		from := account.Origin{Address: a.address}
		underAttack := a.at >= quiet
		switch {
		case !a.honest:
			hostile++
		case underAttack && a.tries == 0:
			hurt++
		}
		flow, err := s.AskSignIn(t.Context(), a.number, false, "", from, now)
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
		// Numbers of nobody get no text here, and would at a sign-up: they count as if.
		price, ok := account.Prices[account.CountryCode(a.number)]
		if !ok {
			price = account.Dear
		}
		spent[now.Unix()/3600] += price
		total += price
		if !a.honest {
			onFraud += price
			hostileSent++
			continue
		}
		_, err = s.Deliver(t.Context(), now, func(_ context.Context, m account.Message) error {
			codes[m.To] = m.Code
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.VerifySignIn(t.Context(), flow, codes[a.number], from, now.Add(time.Minute)); err != nil {
			t.Fatalf("the code of %s: %v", a.number, err)
		}
		if underAttack {
			hurtIn++
		}
	}
	for hour, money := range spent {
		if money > budget.Hour {
			t.Errorf("%d millionths in hour %d, of %d", money, hour, budget.Hour)
		}
	}
	most := account.Money(0)
	for hour := range spent {
		day := account.Money(0)
		for back := range int64(24) {
			day += spent[hour-back]
		}
		most = max(most, day)
	}
	t.Logf("%d hostile requests: %d texts for %.2f; %d of %d people in meanwhile; %.2f in all, %.2f at most in 24 hours; refused %v",
		hostile, hostileSent, float64(onFraud)/1e6, hurtIn, hurt, float64(total)/1e6, float64(most)/1e6, refused)
	if most > budget.Day {
		t.Errorf("24 hours have cost %d millionths of %d", most, budget.Day)
	}
	if hurtIn*100 < hurt*95 || hurt == 0 {
		t.Errorf("%d of %d people got in", hurtIn, hurt)
	}
}
