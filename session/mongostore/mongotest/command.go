package mongotest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A collection has documents by their _id, which is a string here.
type collection struct {
	docs    map[string]bson.D
	indexes []bson.D
}

// at returns a collection. s.mu is held, as in all below.
func (s *Server) at(ns string) *collection {
	if s.data[ns] == nil {
		s.data[ns] = &collection{docs: map[string]bson.D{}}
	}
	return s.data[ns]
}

func (c *collection) expire(now time.Time) {
	for _, index := range c.indexes {
		after, ok := number(get(index, "expireAfterSeconds"))
		if keys, _ := get(index, "key").(bson.D); ok && len(keys) == 1 {
			for id, doc := range c.docs {
				if at, ok := get(doc, keys[0].Key).(bson.DateTime); ok && int64(at)+after*1000 <= now.UnixMilli() {
					delete(c.docs, id)
				}
			}
		}
	}
}

// A failure is an answer of MongoDB's.
type failure struct {
	code int32
	name string
	text string
}

func fail(code int32, name, format string, args ...any) {
	panic(failure{code, name, fmt.Sprintf(format, args...)})
}

func (s *Server) run(command bson.D) (answer bson.D) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			answer = bson.D{{Key: "ok", Value: 0}, {Key: "errmsg", Value: f.text}, {Key: "code", Value: f.code}, {Key: "codeName", Value: f.name}}
		default:
			panic(f)
		}
	}()
	name := command[0].Key
	s.last[name] = command
	database, _ := get(command, "$db").(string)
	collection, _ := command[0].Value.(string)
	ns := database + "." + collection
	switch name {
	case "hello", "isMaster", "ismaster":
		return ok(bson.D{
			{Key: "helloOk", Value: true}, {Key: "ismaster", Value: true}, {Key: "isWritablePrimary", Value: true},
			{Key: "maxBsonObjectSize", Value: int32(16 << 20)}, {Key: "maxMessageSizeBytes", Value: int32(maxMessage)}, {Key: "maxWriteBatchSize", Value: int32(100_000)},
			{Key: "localTime", Value: time.Now()}, {Key: "logicalSessionTimeoutMinutes", Value: int32(30)},
			{Key: "minWireVersion", Value: int32(0)}, {Key: "maxWireVersion", Value: int32(21)}, {Key: "readOnly", Value: false},
		})
	case "ping", "endSessions", "killCursors":
		return ok(nil)
	case "buildInfo":
		return ok(bson.D{{Key: "version", Value: "7.0.0"}, {Key: "gitVersion", Value: "mongotest, which is not MongoDB"}})
	case "createIndexes":
		c := s.at(ns)
		for _, i := range list(command, "indexes") {
			if !slices.ContainsFunc(c.indexes, func(there bson.D) bool { return get(there, "name") == get(i, "name") }) {
				c.indexes = append(c.indexes, i)
			}
		}
		return ok(nil)
	case "find":
		filter, _ := get(command, "filter").(bson.D)
		found := s.at(ns).find(filter)
		if sort, is := get(command, "sort").(bson.D); is && (len(sort) != 1 || sort[0].Key != "_id") {
			fail(2, "BadValue", "sort by %v is not in this stand-in", sort)
		}
		if limit, is := number(get(command, "limit")); is && limit > 0 {
			found = found[:min(len(found), int(limit))]
		}
		return s.page(ns, "firstBatch", found, command, 101)
	case "getMore":
		id, _ := command[0].Value.(int64)
		left, there := s.cursors[id]
		if !there {
			fail(43, "CursorNotFound", "there is no cursor %d", id)
		}
		delete(s.cursors, id)
		in, _ := get(command, "collection").(string)
		return s.page(database+"."+in, "nextBatch", left, command, 1000)
	case "insert":
		n, errs := 0, bson.A{}
		for i, doc := range list(command, "documents") {
			id, is := get(doc, "_id").(string)
			if !is {
				fail(2, "BadValue", "an _id that is no string is not in this stand-in")
			}
			if _, taken := s.at(ns).docs[id]; taken {
				errs = append(errs, bson.D{{Key: "index", Value: int32(i)}, {Key: "code", Value: int32(11000)}, {Key: "errmsg", Value: "E11000 duplicate key error"}})
				continue
			}
			s.at(ns).docs[id] = doc
			n++
		}
		answer := bson.D{{Key: "n", Value: int32(n)}}
		if len(errs) > 0 {
			answer = append(answer, bson.E{Key: "writeErrors", Value: errs})
		}
		return ok(answer)
	case "update":
		n, changed, upserted := 0, 0, bson.A{}
		for i, u := range list(command, "updates") {
			if get(u, "multi") == true {
				fail(2, "BadValue", "multi is not in this stand-in")
			}
			q, _ := get(u, "q").(bson.D)
			change, _ := get(u, "u").(bson.D)
			found := first(s.at(ns).find(q))
			if id, is := get(q, "_id").(string); len(found) == 0 && get(u, "upsert") == true {
				if !is || len(q) != 1 {
					fail(2, "BadValue", "an upsert by %v is not in this stand-in", q)
				}
				s.at(ns).docs[id] = apply(bson.D{{Key: "_id", Value: id}}, change)
				upserted = append(upserted, bson.D{{Key: "index", Value: int32(i)}, {Key: "_id", Value: id}})
				n++
			}
			for _, doc := range found {
				n++
				if next := apply(doc, change); !reflect.DeepEqual(next, doc) {
					s.at(ns).docs[get(doc, "_id").(string)] = next
					changed++
				}
			}
		}
		answer := bson.D{{Key: "n", Value: int32(n)}, {Key: "nModified", Value: int32(changed)}}
		if len(upserted) > 0 {
			answer = append(answer, bson.E{Key: "upserted", Value: upserted})
		}
		return ok(answer)
	case "delete":
		n := 0
		for _, d := range list(command, "deletes") {
			q, _ := get(d, "q").(bson.D)
			found := s.at(ns).find(q)
			if limit, _ := number(get(d, "limit")); limit == 1 {
				found = first(found)
			}
			for _, doc := range found {
				delete(s.at(ns).docs, get(doc, "_id").(string))
				n++
			}
		}
		return ok(bson.D{{Key: "n", Value: int32(n)}})
	}
	fail(59, "CommandNotFound", "no such command in this stand-in: %q", name)
	return nil
}

func ok(d bson.D) bson.D { return append(d, bson.E{Key: "ok", Value: 1.0}) }

// page answers with a batch, and keeps the rest for getMore.
func (s *Server) page(ns, batch string, docs []bson.D, command bson.D, size int64) bson.D {
	if n, is := number(get(command, "batchSize")); is && n > 0 {
		size = n
	}
	id, page := int64(0), docs[:min(int64(len(docs)), size)]
	if rest := docs[len(page):]; len(rest) > 0 {
		s.cursor++
		id = s.cursor
		s.cursors[id] = rest
	}
	return ok(bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: id}, {Key: "ns", Value: ns}, {Key: batch, Value: page}}}})
}

// find returns what a filter matches, in the order of _id, byte by byte.
func (c *collection) find(filter bson.D) []bson.D {
	found := []bson.D{}
	if id, is := get(filter, "_id").(string); is {
		if doc, there := c.docs[id]; there && matches(doc, filter) {
			found = append(found, doc)
		}
		return found
	}
	for _, doc := range c.docs {
		if matches(doc, filter) {
			found = append(found, doc)
		}
	}
	slices.SortFunc(found, func(a, b bson.D) int { return strings.Compare(get(a, "_id").(string), get(b, "_id").(string)) })
	return found
}

func matches(doc, filter bson.D) bool {
	for _, want := range filter {
		if !match(doc, want) {
			return false
		}
	}
	return true
}

func match(doc bson.D, want bson.E) bool {
	if want.Key == "$or" {
		either, _ := want.Value.(bson.A)
		return slices.ContainsFunc(either, func(v any) bool { return matches(doc, v.(bson.D)) })
	}
	have := get(doc, want.Key)
	ops, is := want.Value.(bson.D)
	switch {
	case !is:
		return have != nil && compare(have, want.Value) == 0
	case len(ops) == 1 && ops[0].Key == "$gt":
		return have != nil && compare(have, ops[0].Value) > 0
	case len(ops) == 1 && ops[0].Key == "$exists":
		return (have != nil) == ops[0].Value
	}
	fail(2, "BadValue", "%v is not in this stand-in", ops)
	return false
}

// apply returns a document after an update.
func apply(doc, change bson.D) bson.D {
	next := slices.Clone(doc)
	for _, op := range change {
		fields, _ := op.Value.(bson.D)
		for _, f := range fields {
			i := slices.IndexFunc(next, func(e bson.E) bool { return e.Key == f.Key })
			switch {
			case op.Key != "$set" && op.Key != "$max":
				fail(9, "FailedToParse", "%s is not in this stand-in", op.Key)
			case i < 0:
				next = append(next, f)
			case op.Key == "$set", compare(f.Value, next[i].Value) > 0:
				next[i] = f
			}
		}
	}
	return next
}

// compare compares two values of one kind. MongoDB orders kinds too.
func compare(a, b any) int {
	if a, is := a.(string); is {
		if b, is := b.(string); is {
			return strings.Compare(a, b)
		}
	}
	n, is1 := number(a)
	m, is2 := number(b)
	if !is1 || !is2 {
		fail(2, "BadValue", "comparing %T with %T is not in this stand-in", a, b)
	}
	return cmp.Compare(n, m)
}

func number(v any) (int64, bool) {
	switch v := v.(type) {
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case bson.DateTime:
		return int64(v), true
	}
	return 0, false
}

func get(doc bson.D, key string) any {
	for _, e := range doc {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

func list(command bson.D, key string) (docs []bson.D) {
	all, _ := get(command, key).(bson.A)
	for _, v := range all {
		if doc, is := v.(bson.D); is {
			docs = append(docs, doc)
		}
	}
	return docs
}

func first(docs []bson.D) []bson.D { return docs[:min(len(docs), 1)] }
