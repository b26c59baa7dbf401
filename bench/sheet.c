/* sheet.c - cells in rows and columns, as aligned text, Markdown or CSV */
#include "bench/sheet.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NOTE_BYTES 1024

static const char *const format_names[] = {"text", "markdown", "csv"};

int sheet_format_of(const char *name)
{
	for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++)
		if (strcmp(name, format_names[i]) == 0)
			return (int)i;
	return -1;
}

char *sheet_time(double ns, char text[SHEET_CELL_BYTES])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	int unit = 0;

	/* From there on three digits would read 1e+03. */
	for (; ns >= 999.5 && unit < 3; unit++)
		ns /= 1e3;
	if (isnan(ns))
		snprintf(text, SHEET_CELL_BYTES, "-");
	else
		snprintf(text, SHEET_CELL_BYTES, "%.3g %s", ns, units[unit]);
	return text;
}

char *sheet_count(double value, char text[SHEET_CELL_BYTES])
{
	char digits[SHEET_CELL_BYTES];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%.0f", value);
	size_t out = 0;

	for (size_t i = 0; i < len && out + 2 < SHEET_CELL_BYTES; i++) {
		if (i && (len - i) % 3 == 0)
			text[out++] = ',';
		text[out++] = digits[i];
	}
	text[out] = '\0';
	return text;
}

void sheet_wrap(FILE *out, const char *text, size_t width)
{
	size_t indent = 0;

	while (width > 20 && strlen(text) + indent > width) {
		size_t len = width - indent;

		while (len && text[len] != ' ')
			len--;
		if (!len)
			break; /* a word that is longer than a line */
		fprintf(out, "%*s%.*s\n", (int)indent, "", (int)len, text);
		text += len + 1;
		indent = 4;
	}
	fprintf(out, "%*s%s\n", (int)indent, "", text);
}

/* 0: `out` is no terminal, or does not tell. */
static size_t terminal_width(FILE *out)
{
	struct winsize window = {0};

	if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &window) != 0)
		return 0;
	return window.ws_col;
}

void sheet_note(FILE *out, const char *format, ...)
{
	char text[NOTE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	sheet_wrap(out, text, terminal_width(out));
}

/* `row` -1: the heads. */
static const char *cell(const struct sheet *sheet, long row, unsigned int column)
{
	return row < 0 ? sheet->columns[column].head : sheet->rows[row].cells[column];
}

static size_t width_of(const struct sheet *sheet, unsigned int column)
{
	size_t width = 0;

	for (long row = -1; row < (long)sheet->rows_count; row++)
		if (strlen(cell(sheet, row, column)) > width)
			width = strlen(cell(sheet, row, column));
	return width;
}

/* The first column and those from `from` to before `to`. */
static void print_columns(FILE *out, const struct sheet *sheet, unsigned int from, unsigned int to)
{
	for (long row = -1; row < (long)sheet->rows_count; row++) {
		char line[SHEET_COLUMNS_MAX * (SHEET_CELL_BYTES + 2) + 1] = "";
		size_t len = 0;
		for (unsigned int c = 0; c < to; c++) {
			const struct sheet_column *column = &sheet->columns[c];
			if (column->hidden || (c && c < from))
				continue;
			len += (size_t)snprintf(line + len, sizeof(line) - len,
						column->left ? "%s%-*s" : "%s%*s", len ? "  " : "",
						(int)width_of(sheet, c), cell(sheet, row, c));
		}
		while (len && line[len - 1] == ' ')
			line[--len] = '\0';
		fprintf(out, "%s\n", line);
	}
}

void sheet_text(FILE *out, const struct sheet *sheet, size_t width)
{
	size_t first = width_of(sheet, 0);
	unsigned int from = 1, to;

	do {
		size_t used = first;

		for (to = from; to < sheet->columns_count; to++) {
			size_t more = sheet->columns[to].hidden ? 0 : width_of(sheet, to) + 2;

			if (width && more && used + more > width && used > first)
				break;
			used += more;
		}
		if (from > 1)
			fputc('\n', out);
		print_columns(out, sheet, from, to);
		from = to;
	} while (to < sheet->columns_count);
}

static void print_text(FILE *out, const struct sheet *sheet)
{
	sheet_text(out, sheet, terminal_width(out));
}

static void print_markdown(FILE *out, const struct sheet *sheet)
{
	for (long row = -1; row < (long)sheet->rows_count; row++) {
		fputc('|', out);
		for (unsigned int c = 0; c < sheet->columns_count; c++) {
			if (sheet->columns[c].hidden)
				continue;
			fputc(' ', out);
			for (const char *at = cell(sheet, row, c); *at; at++)
				fprintf(out, *at == '|' ? "\\%c" : "%c", *at);
			fputs(" |", out);
		}
		fputc('\n', out);
		if (row >= 0)
			continue;
		fputc('|', out);
		for (unsigned int c = 0; c < sheet->columns_count; c++)
			if (!sheet->columns[c].hidden)
				fputs(sheet->columns[c].left ? "---|" : "---:|", out);
		fputc('\n', out);
	}
}

/* RFC 4180, with the line ends of this system. */
static void print_csv(FILE *out, const struct sheet *sheet)
{
	for (long row = -1; row < (long)sheet->rows_count; row++) {
		for (unsigned int c = 0; c < sheet->columns_count; c++) {
			const char *text = cell(sheet, row, c);
			bool quoted = strpbrk(text, ",\"\n") != NULL;
			if (c)
				fputc(',', out);
			if (quoted)
				fputc('"', out);
			for (; *text; text++)
				fprintf(out, *text == '"' ? "\"%c" : "%c", *text);
			if (quoted)
				fputc('"', out);
		}
		fputc('\n', out);
	}
}

void sheet_print(FILE *out, const struct sheet *sheet, enum sheet_format format)
{
	static void (*const print[])(FILE *, const struct sheet *) = {print_text, print_markdown,
								      print_csv};

	print[format](out, sheet);
}
