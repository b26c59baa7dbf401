/* test_sheet.c - the same cells as text, Markdown and CSV */
#include "bench/sheet.h"

#include "tests/support/leak.h"

#include <math.h>
#include <string.h>

TestSuite(sheet, .fini = vly_leak_gate);

static const struct sheet_row rows[] = {
	{.cells = {"a", "1", "x"}},
	{.cells = {"long, name", "1,000", ""}},
	{.cells = {"p|q \"r\"", "22", "y"}},
};

static const char *printed(enum sheet_format format, bool hidden)
{
	static char text[1024];
	struct sheet sheet = {
		.columns_count = 3,
		.columns = {{"name", true, false}, {"count", false, hidden}, {"", true, false}},
		.rows = rows,
		.rows_count = 3,
	};

	memset(text, 0, sizeof(text));
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	cr_assert_not_null(out);
	sheet_print(out, &sheet, format);
	fclose(out);
	return text;
}

Test(sheet, text_is_aligned_without_blanks_at_the_end)
{
	cr_assert_str_eq(printed(SHEET_TEXT, false), "name        count\n"
						     "a               1  x\n"
						     "long, name  1,000\n"
						     "p|q \"r\"        22  y\n");
}

Test(sheet, markdown_escapes_bars)
{
	cr_assert_str_eq(printed(SHEET_MARKDOWN, false), "| name | count |  |\n"
							 "|---|---:|---|\n"
							 "| a | 1 | x |\n"
							 "| long, name | 1,000 |  |\n"
							 "| p\\|q \"r\" | 22 | y |\n");
}

Test(sheet, csv_quotes_commas_and_quotes)
{
	cr_assert_str_eq(printed(SHEET_CSV, false), "name,count,\n"
						    "a,1,x\n"
						    "\"long, name\",\"1,000\",\n"
						    "\"p|q \"\"r\"\"\",22,y\n");
}

Test(sheet, a_hidden_column_is_left_out_for_people)
{
	cr_assert_str_eq(printed(SHEET_TEXT, true), "name\n"
						    "a           x\n"
						    "long, name\n"
						    "p|q \"r\"     y\n");
	cr_assert_null(strstr(printed(SHEET_MARKDOWN, true), "count"));
}

static const char *text_of_width(size_t width)
{
	static char text[1024];
	struct sheet sheet = {
		.columns_count = 4,
		.columns = {{"name", true, false},
			    {"count", false, false},
			    {"", true, false},
			    {"more", false, true}},
		.rows = rows,
		.rows_count = 2,
	};

	memset(text, 0, sizeof(text));
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	cr_assert_not_null(out);
	sheet_text(out, &sheet, width);
	fclose(out);
	return text;
}

Test(sheet, columns_that_do_not_fit_a_terminal_follow_below_beside_the_first_one)
{
	static const char one[] = "name        count\n"
				  "a               1  x\n"
				  "long, name  1,000\n";
	static const char two[] = "name        count\n"
				  "a               1\n"
				  "long, name  1,000\n"
				  "\n"
				  "name\n"
				  "a           x\n"
				  "long, name\n";

	cr_assert_str_eq(text_of_width(0), one);
	cr_assert_str_eq(text_of_width(20), one);
	cr_assert_str_eq(text_of_width(19), two);
	/* each gets at least one, however narrow it is */
	cr_assert_str_eq(text_of_width(1), two);
}

Test(sheet, formats_have_names)
{
	cr_assert_eq(sheet_format_of("text"), SHEET_TEXT);
	cr_assert_eq(sheet_format_of("markdown"), SHEET_MARKDOWN);
	cr_assert_eq(sheet_format_of("csv"), SHEET_CSV);
	cr_assert_eq(sheet_format_of("html"), -1);
	cr_assert_eq(sheet_format_of(""), -1);
}

Test(sheet, a_time_is_rounded_into_the_unit_that_it_is_shown_in)
{
	char text[SHEET_CELL_BYTES];

	cr_assert_str_eq(sheet_time(999.4, text), "999 ns");
	cr_assert_str_eq(sheet_time(999.6, text), "1 us");
	cr_assert_str_eq(sheet_time(1500, text), "1.5 us");
	cr_assert_str_eq(sheet_time(999700, text), "1 ms");
	cr_assert_str_eq(sheet_time(999.7e6, text), "1 s");
	cr_assert_str_eq(sheet_time(60e9, text), "60 s");
	cr_assert_str_eq(sheet_time((double)NAN, text), "-");
}

static const char *wrapped(const char *line, size_t width)
{
	static char text[256];

	memset(text, 0, sizeof(text));
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	cr_assert_not_null(out);
	sheet_wrap(out, line, width);
	fclose(out);
	return text;
}

Test(sheet, notes_are_broken_between_words_where_a_terminal_is_narrower)
{
	static const char line[] = "c_epoll, run 1: it was not steady, it moved";

	cr_assert_str_eq(wrapped(line, 0), "c_epoll, run 1: it was not steady, it moved\n");
	cr_assert_str_eq(wrapped(line, 43), "c_epoll, run 1: it was not steady, it moved\n");
	cr_assert_str_eq(wrapped(line, 42), "c_epoll, run 1: it was not steady, it\n    moved\n");
	cr_assert_str_eq(wrapped(line, 26), "c_epoll, run 1: it was not\n    steady, it moved\n");
	/* a word that fits nowhere, and a terminal that is none */
	cr_assert_str_eq(wrapped("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b", 24),
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b\n");
	cr_assert_str_eq(wrapped(line, 5), "c_epoll, run 1: it was not steady, it moved\n");
}

Test(sheet, counts_are_read_in_threes)
{
	char text[SHEET_CELL_BYTES];

	cr_assert_str_eq(sheet_count(0, text), "0");
	cr_assert_str_eq(sheet_count(999.4, text), "999");
	cr_assert_str_eq(sheet_count(1000, text), "1,000");
	cr_assert_str_eq(sheet_count(1234567, text), "1,234,567");
}
