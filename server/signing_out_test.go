package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/session"
)

// Everybody is signed out at once, 8,000 sessions of as many users: how long that
// takes, how soon a service that follows over a network knows all of it, and what
// is kept of it until no token could name it, on disk and in the service.
func BenchmarkEverybodyOut(b *testing.B) {
	const sessions = 8000
	for b.Loop() {
		b.StopTimer()
		data := b.TempDir()
		s, err := New(b.Context(), Config{
			Data: data, Dev: true, Log: slog.New(slog.DiscardHandler),
			FeedFollower: func(*http.Request) ([]string, error) { return []string{"a"}, nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		edge := httptest.NewServer(s.Handler())
		for i := range sessions {
			r := httptest.NewRequest("POST", "http://localhost/", nil)
			if _, err := s.sessions.Start(httptest.NewRecorder(), r, fmt.Sprint("user-", i), &session.StartOptions{JWT: true}); err != nil {
				b.Fatal(err)
			}
		}
		source, err := feed.NewRemote(edge.URL+"/feed", admit.NewSecret("any"), nil)
		if err != nil {
			b.Fatal(err)
		}
		set := revocation.New(nil)
		ctx, stop := context.WithCancel(b.Context())
		var work sync.WaitGroup
		work.Go(func() { _ = set.Run(ctx, source) }) // ctx's error
		for at := (time.Time{}); at.IsZero(); _, at = set.Position() {
			runtime.Gosched()
		}
		before := onDisk(b, data)
		b.StartTimer()
		begun := time.Now()
		n, err := s.sessions.EndEveryone(ctx, "ended_by_operator")
		if err != nil || n != sessions {
			b.Fatal(n, err)
		}
		ended := time.Now()
		for set.Len() < sessions {
			if time.Since(ended) > 10*time.Second {
				b.Fatalf("the service knows %d of them", set.Len())
			}
			runtime.Gosched()
		}
		b.StopTimer()
		b.ReportMetric(ended.Sub(begun).Seconds()*1000, "ms/all")
		b.ReportMetric(time.Since(ended).Seconds()*1000, "ms-until-heard")
		b.ReportMetric(float64(onDisk(b, data)-before)/sessions, "disk-B/ending")
		stop()
		work.Wait()
		edge.Close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// onDisk is how large the files of a database are.
func onDisk(b *testing.B, data string) (all int64) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(data, "admit.db*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		is, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		all += is.Size()
	}
	return all
}
