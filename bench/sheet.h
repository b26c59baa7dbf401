/* sheet.h - cells in rows and columns, as aligned text, Markdown or CSV */
#ifndef VLY_BENCH_SHEET_H
#define VLY_BENCH_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum sheet_format {
	SHEET_TEXT,
	SHEET_MARKDOWN,
	SHEET_CSV
};

#define SHEET_COLUMNS_MAX 48
#define SHEET_CELL_BYTES 64

struct sheet_column {
	const char *head;
	bool left;   /* aligned so; numbers stand to the right */
	bool hidden; /* in text and Markdown */
};

struct sheet_row {
	char cells[SHEET_COLUMNS_MAX][SHEET_CELL_BYTES];
};

struct sheet {
	unsigned int columns_count;
	struct sheet_column columns[SHEET_COLUMNS_MAX];
	const struct sheet_row *rows; /* borrowed */
	size_t rows_count;
};

/* "1.5 us": a time as people read it, three digits; "-": unknown (NAN). Returns `text`. */
char *sheet_time(double ns, char text[SHEET_CELL_BYTES]);

/* "1,234,567". Returns `text`. */
char *sheet_count(double value, char text[SHEET_CELL_BYTES]);

/* A line of prose, broken between words where `out` is a terminal that is narrower. */
void sheet_note(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a terminal of `width` columns; 0: it is not broken. What follows the first line is indented. */
void sheet_wrap(FILE *out, const char *text, size_t width);

/*
 * Text for a terminal of `width` columns: what does not fit beside the first column follows below, with
 * the first column again. 0: all in one.
 */
void sheet_text(FILE *out, const struct sheet *sheet, size_t width);

/* Prints the heads, then a line for each row; text as the terminal's width asks for, if `out` is one. */
void sheet_print(FILE *out, const struct sheet *sheet, enum sheet_format format);

/* The format of that name ("text", "markdown", "csv"), or -1. */
int sheet_format_of(const char *name);

#endif
