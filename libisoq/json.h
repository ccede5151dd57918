/* JSON texts, read in place: a value is the piece of text that it is written in. isoq_check_json
   comes first; the other functions rely on the grammar. */
#ifndef ISOQ_JSON_H
#define ISOQ_JSON_H

#include "bytes.h"

typedef struct {
    const char *at, *end; /* at is null for a value that is not there */
} isoq_json;

/* Set `value` to the only value of a text. Fail if the text is not JSON, or is nested too deeply.
 */
int isoq_check_json(isoq_work *work, isoq_bytes text, isoq_json *value, const char *what);

/* Return the value of a key of an object, nothing if `value` is no object or has no such key. */
isoq_json isoq_json_member(isoq_json value, const char *key);

/* Return the number of items of a list, -1 if `value` is none. */
int isoq_json_length(isoq_json value);

/* Set `item` to the next item of a list; return 0 at its end. rest: at first the list. */
int isoq_json_next(isoq_json *rest, isoq_json *item);

/* Set `key` (a string) and `item` to the next member of an object; return 0 at its end. rest: at
   first the object. */
int isoq_json_next_member(isoq_json *rest, isoq_json *key, isoq_json *item);

/* Return whether a value is this literal (true, false, null) or this string. */
int isoq_json_is(isoq_json value, const char *literal);
int isoq_json_equals(isoq_json value, const char *text);

/* Set `text`, `room` bytes with the 0 at its end, to a string. Return 0 if `value` is none, does
   not fit, or has anything but printable ASCII. */
int isoq_json_text(isoq_json value, char *text, size_t room);

/* Set `number` to an integer of at least 0 and below 2^62, or to a number. Return 0 if the value is
   none. */
int isoq_json_whole(isoq_json value, uint64_t *number);
int isoq_json_number(isoq_json value, double *number);

#endif
