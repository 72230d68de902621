/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of findings: see findings.h.
 */
#include "doctor/findings.h"

#include "keeper/keeper.h"

#include <stdarg.h>

static const char *const names[LEVELS] = {"fine", "note", "hurts", "lacks", "unseen"};

struct finding *findings_add(struct findings *f, enum level level, const char *check, const char *format, ...)
{
	struct finding *new = &f->at[f->count < FINDINGS ? f->count : FINDINGS - 1];
	va_list args;

	if (f->count < FINDINGS)
		f->count++;
	else
		f->dropped++;
	*new = (struct finding){.level = level, .check = check};
	va_start(args, format);
	vsnprintf(new->what, sizeof(new->what), format, args);
	va_end(args);
	finding_printable(new->what);
	return new;
}

void finding_remedy(struct finding *finding, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(finding->remedy, sizeof(finding->remedy), format, args);
	va_end(args);
	finding_printable(finding->remedy);
}

char *finding_printable(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = '?';
	return text;
}

static bool has(const struct findings *f, enum level level)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->at[i].level == level)
			return true;
	return false;
}

int findings_status(const struct findings *f)
{
	if (has(f, LEVEL_LACKS))
		return EXIT_KERNEL;
	if (has(f, LEVEL_HURTS) || f->dropped)
		return EXIT_FAILED;
	return has(f, LEVEL_UNSEEN) ? EXIT_PERMISSION : EXIT_DONE;
}

void findings_print(const struct findings *f, FILE *out)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct finding *each = &f->at[i];

		fprintf(out, "%-6s  %s: %s\n", names[each->level], each->check, each->what);
		if (each->remedy[0])
			fprintf(out, "        -> %s\n", each->remedy);
	}
	if (f->dropped)
		fprintf(out, "and %zu findings more\n", f->dropped);
}

json_t *findings_json(const struct findings *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->count; i++) {
		const struct finding *each = &f->at[i];
		json_t *o = json_pack("{s:s, s:s, s:s, s:s?}", "level", names[each->level], "check", each->check,
				      "what", each->what, "remedy", each->remedy[0] ? each->remedy : NULL);

		if (json_array_append_new(list, o)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
