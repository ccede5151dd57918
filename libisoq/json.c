#include "json.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64, LONGEST_NUMBER = 400 };

/* ---- The grammar. Each function moves `at` behind what it reads, and returns 0 if that is not
   there. ---- */

static void skip_space(isoq_json *text) {
    while (text->at < text->end && memchr(" \t\r\n", *text->at, 4)) text->at++;
}

static int skip_char(isoq_json *text, char wanted) {
    if (text->at == text->end || *text->at != wanted) return 0;
    text->at++;
    return 1;
}

static int skip_digits(isoq_json *text) {
    const char *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') text->at++;
    return text->at > start;
}

static int skip_number(isoq_json *text) {
    skip_char(text, '-');
    if (!skip_char(text, '0') && !skip_digits(text)) return 0;
    if (skip_char(text, '.') && !skip_digits(text)) return 0;
    if (!skip_char(text, 'e') && !skip_char(text, 'E')) return 1;
    if (!skip_char(text, '+')) skip_char(text, '-');
    return skip_digits(text);
}

static int skip_literal(isoq_json *text) {
    static const char *const literals[] = {"true", "false", "null"};
    for (int k = 0; k < 3; k++) {
        size_t size = strlen(literals[k]);
        if ((size_t)(text->end - text->at) < size || memcmp(text->at, literals[k], size)) continue;
        text->at += size;
        return 1;
    }
    return 0;
}

static int skip_escape(isoq_json *text) {
    if (text->at == text->end) return 0;
    char kind = *text->at++;
    if (kind != 'u') return memchr("\"\\/bfnrt", kind, 8) != NULL;
    for (int k = 0; k < 4; k++, text->at++)
        if (text->at == text->end || !*text->at || !strchr("0123456789abcdefABCDEF", *text->at))
            return 0;
    return 1;
}

static int skip_string(isoq_json *text) {
    if (!skip_char(text, '"')) return 0;
    while (text->at < text->end) {
        unsigned char next = (unsigned char)*text->at++;
        if (next == '"') return 1;
        if (next < 32 || (next == '\\' && !skip_escape(text))) return 0;
    }
    return 0;
}

static int skip_value(isoq_json *text, int depth);

/* Skip what is between the brackets of a list or an object, and the closing one. */
static int skip_items(isoq_json *text, char closing, int depth) {
    skip_space(text);
    if (skip_char(text, closing)) return 1;
    do {
        if (closing == '}') {
            skip_space(text);
            if (!skip_string(text)) return 0;
            skip_space(text);
            if (!skip_char(text, ':')) return 0;
        }
        if (!skip_value(text, depth + 1)) return 0;
    } while (skip_char(text, ','));
    return skip_char(text, closing);
}

/* Skip a value and the space around it. */
static int skip_value(isoq_json *text, int depth) {
    int found;
    skip_space(text);
    if (text->at == text->end || depth > DEPTH) return 0;
    if (*text->at == '{' || *text->at == '[') {
        char closing = *text->at++ == '{' ? '}' : ']';
        found = skip_items(text, closing, depth);
    } else if (*text->at == '"')
        found = skip_string(text);
    else
        found = skip_literal(text) || skip_number(text);
    skip_space(text);
    return found;
}

int isoq_check_json(isoq_work *work, isoq_bytes text, isoq_json *value, const char *what) {
    if (!text.left) return isoq_damaged(work, what); /* and there may be no address */
    isoq_json rest = {(const char *)text.at, (const char *)text.at + text.left};
    skip_space(&rest);
    *value = rest;
    if (!skip_value(&rest, 0) || rest.at != rest.end) return isoq_damaged(work, what);
    return 1;
}

/* ---- Values of a text that was checked ---- */

static int starts_with(isoq_json value, char first) { return value.at && *value.at == first; }

/* Move `rest` behind its first value, and return that. */
static isoq_json cut_value(isoq_json *rest) {
    isoq_json value = *rest;
    skip_value(rest, 0);
    value.end = rest->at;
    while (value.end > value.at && memchr(" \t\r\n", value.end[-1], 4)) value.end--;
    return value;
}

/* Move `rest` to the next item of a list or an object, past the bracket or the comma before it.
   Return 0 if there is none. */
static int move_to_item(isoq_json *rest, char opening, char closing) {
    if (!skip_char(rest, opening)) skip_char(rest, ',');
    skip_space(rest);
    return rest->at < rest->end && *rest->at != closing;
}

int isoq_json_next(isoq_json *rest, isoq_json *item) {
    if (!rest->at || !move_to_item(rest, '[', ']')) return 0;
    *item = cut_value(rest);
    return 1;
}

int isoq_json_next_member(isoq_json *rest, isoq_json *key, isoq_json *item) {
    if (!rest->at || !move_to_item(rest, '{', '}')) return 0;
    *key = cut_value(rest);
    skip_char(rest, ':');
    skip_space(rest);
    *item = cut_value(rest);
    return 1;
}

isoq_json isoq_json_member(isoq_json value, const char *wanted) {
    isoq_json rest = value, key, item, found = {NULL, NULL};
    if (!starts_with(value, '{')) return found;
    while (isoq_json_next_member(&rest, &key, &item))
        if (isoq_json_equals(key, wanted)) found = item;
    return found;
}

int isoq_json_length(isoq_json value) {
    isoq_json rest = value, item;
    int length = 0;
    if (!starts_with(value, '[')) return -1;
    while (isoq_json_next(&rest, &item)) length++;
    return length;
}

int isoq_json_is(isoq_json value, const char *literal) {
    size_t size = strlen(literal);
    return value.at && (size_t)(value.end - value.at) == size && !memcmp(value.at, literal, size);
}

/* Return the next character of a string and move behind it; 0 if it is none of printable ASCII. */
static char next_char(const char **at) {
    static const char hex[] = "0123456789abcdef";
    if (**at != '\\') return *(*at)++;
    char kind = (*at)[1];
    *at += 2;
    if (kind == '"' || kind == '\\' || kind == '/') return kind;
    if (kind != 'u') return 0;
    unsigned code = 0;
    for (int k = 0; k < 4; k++, ++*at)
        code = 16 * code + (unsigned)(strchr(hex, **at < 'A' ? **at : **at | 32) - hex);
    return code < 127 ? (char)code : 0;
}

int isoq_json_text(isoq_json value, char *text, size_t room) {
    size_t size = 0;
    if (!starts_with(value, '"')) return 0;
    for (const char *at = value.at + 1; at < value.end - 1; size++) {
        char next = next_char(&at);
        if (next < 32 || next > 126 || size + 1 >= room) return 0;
        text[size] = next;
    }
    text[size] = 0;
    return 1;
}

int isoq_json_equals(isoq_json value, const char *wanted) {
    char text[40];
    return isoq_json_text(value, text, sizeof text) && !strcmp(text, wanted);
}

int isoq_json_whole(isoq_json value, uint64_t *number) {
    *number = 0;
    if (!value.at) return 0;
    for (const char *at = value.at; at < value.end; at++) {
        if (*at < '0' || *at > '9' || *number >> 58) return 0;
        *number = 10 * *number + (uint64_t)(*at - '0');
    }
    return !(*number >> 62);
}

int isoq_json_number(isoq_json value, double *number) {
    char text[LONGEST_NUMBER + 1];
    size_t size = value.at ? (size_t)(value.end - value.at) : 0;
    if (!size || size > LONGEST_NUMBER ||
        (*value.at != '-' && (*value.at < '0' || *value.at > '9')))
        return 0;
    memcpy(text, value.at, size);
    text[size] = 0;
    char *point = strchr(text, '.'); /* strtod expects that of the locale */
    if (point) *point = *localeconv()->decimal_point;
    *number = strtod(text, NULL);
    return *number > -1e308 && *number < 1e308;
}
