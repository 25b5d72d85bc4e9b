// Check-in over HTTP in Go: fasthttp, the service's own script, and one of three ways to ask Redis (ways.go).
// "peer FILE": the settings, as bench/peers/servers.py writes them.
package main

import (
	"encoding/json"
	"log"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/valyala/fasthttp"
)

// patience bounds every wait for Redis.
const patience = 5 * time.Second

type settings struct {
	Port        int               `json:"port"`
	Threads     int               `json:"threads"`
	Way         string            `json:"way"`
	Path        string            `json:"path"`
	RedisPort   int               `json:"redis_port"`
	Password    string            `json:"password"`
	Sha         string            `json:"sha"`
	Keys        []string          `json:"keys"`
	Totals      string            `json:"totals"`
	SkewMs      int               `json:"skew_ms"`
	WaitCapMs   int64             `json:"wait_cap_ms"`
	Connections int               `json:"connections"`
	MostUsers   int               `json:"most_users"`
	MostCalls   int               `json:"most_calls"`
	MostWaiting int               `json:"most_waiting"`
	FreshMs     int               `json:"fresh_ms"`
	JwtSecret   string            `json:"jwt_secret"`
	Answers     map[string]answer `json:"answers"`
}

// answer is what a word becomes over HTTP: the envelope, with the pool's fen between its two parts where it has both.
type answer struct {
	Http   int    `json:"http"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// asks is one of the ways: a user's check-in, and the word that the script says; "busy" or "unavailable" without one.
type asks interface {
	ask(uid int64, arrived time.Time) string
}

type server struct {
	path    []byte
	answers map[string]answer
	tokens  *tokens
	way     asks
	poolFen int64 // at most fresh_ms old, as the service's own
}

func main() {
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var set settings
	if err := json.Unmarshal(raw, &set); err != nil {
		log.Fatal(err)
	}
	runtime.GOMAXPROCS(set.Threads)
	way, err := open(&set)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{path: []byte(set.Path), answers: set.Answers, tokens: newTokens(set.JwtSecret), way: way}
	totals := newRedigo(&set, 1)
	if err := s.readTotals(totals, set.Totals); err != nil {
		log.Fatal(err)
	}
	go func() {
		for range time.Tick(time.Duration(set.FreshMs) * time.Millisecond) {
			if err := s.readTotals(totals, set.Totals); err != nil {
				log.Print(err)
			}
		}
	}()
	http := fasthttp.Server{Handler: s.handle, NoDefaultServerHeader: true}
	log.Fatal(http.ListenAndServe("127.0.0.1:" + strconv.Itoa(set.Port)))
}

// redis is its address.
func (set *settings) redis() string { return "127.0.0.1:" + strconv.Itoa(set.RedisPort) }

func newRedigo(set *settings, connections int) *redis.Pool {
	dial := func() (redis.Conn, error) {
		return redis.Dial("tcp", set.redis(), redis.DialPassword(set.Password), redis.DialConnectTimeout(patience),
			redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience))
	}
	return &redis.Pool{Dial: dial, MaxIdle: connections, MaxActive: connections, Wait: true}
}

func (s *server) readTotals(totals *redis.Pool, key string) error {
	conn := totals.Get()
	defer conn.Close()
	fen, err := redis.Int64(conn.Do("HGET", key, "pool_fen"))
	if err != nil && err != redis.ErrNil { // nobody has paid yet
		return err
	}
	atomic.StoreInt64(&s.poolFen, fen)
	return nil
}

func (s *server) handle(ctx *fasthttp.RequestCtx) {
	arrived := time.Now()
	if !ctx.IsPost() || string(ctx.Path()) != string(s.path) {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	said, known := s.answers[s.checkIn(ctx, arrived)]
	if !known { // no_round, clock_moved
		said = s.answers["unavailable"]
	}
	ctx.SetStatusCode(said.Http)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("cache-control", "no-store")
	ctx.Response.AppendBodyString(said.Before)
	if said.After != "" {
		var digits [20]byte
		ctx.Response.AppendBody(strconv.AppendInt(digits[:0], atomic.LoadInt64(&s.poolFen), 10))
		ctx.Response.AppendBodyString(said.After)
	}
}

// checkIn is the word of the answer. The checks come in the service's order: 401, 400, 403, then the game.
func (s *server) checkIn(ctx *fasthttp.RequestCtx, arrived time.Time) string {
	subject, valid := s.tokens.subject(ctx.Request.Header.Peek("authorization"), arrived)
	if !valid {
		return "unauthenticated"
	}
	var body struct {
		Uid int64 `json:"uid"`
	}
	if json.Unmarshal(ctx.PostBody(), &body) != nil || body.Uid < 1 {
		return "bad_request"
	}
	if subject != body.Uid {
		return "forbidden"
	}
	return s.way.ask(body.Uid, arrived)
}
