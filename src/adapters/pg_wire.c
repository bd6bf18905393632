/* SPDX-License-Identifier: MIT */
/*
 * Parameters and rows in the binary format of the protocol: no quoting, no parsing of numbers. Texts are UTF-8, integers big endian, a time is int64
 * microseconds since 2000-01-01 (https://www.postgresql.org/docs/15/datatype-datetime.html). Rows of the simple protocol (greeting) are text.
 */
#include "adapters/pg_internal.h"

#include "base/check.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define VALUES_MAX (16U << 20)
#define EPOCH_2000_MS 946684800000LL

/* pg_type.dat of the server: type OIDs never change. */
static const unsigned type_oids[PG_TYPE_COUNT] = {
	[PG_BOOL] = 16, [PG_I64] = 20, [PG_TEXT] = 25, [PG_UUID] = 2950, [PG_TIME] = 1184};
static const unsigned array_oids[PG_TYPE_COUNT] = {
	[PG_BOOL] = 1000, [PG_I64] = 1016, [PG_TEXT] = 1009, [PG_UUID] = 2951, [PG_TIME] = 1185};

static void append(struct pg_batch *batch, const void *data, size_t len)
{
	int status = buffer_append(&batch->values, data, len);
	if (batch->status == 0)
		batch->status = status;
}

static void append_be32(struct pg_batch *batch, uint32_t value)
{
	uint32_t wire = htobe32(value);
	append(batch, &wire, sizeof(wire));
}

/* ---- parameters ---- */

void pg_batch_begin(struct pg_batch *batch, struct pg_connection *connection)
{
	if (batch->connection == NULL)
		buffer_init(&batch->values, VALUES_MAX);
	batch->connection = connection;
	batch->status = 0;
	batch->open = false;
	batch->array_left = 0;
	batch->queries = 0;
}

static void end_query(struct pg_batch *batch)
{
	if (!batch->open)
		return;
	batch->open = false;
	REQUIRE(batch->array_left == 0);
	if (batch->status == 0)
		batch->status = pg_group_send(batch->connection, batch);
	if (batch->status == 0)
		batch->queries++;
}

void pg_query(struct pg_batch *batch, unsigned slot)
{
	end_query(batch);
	batch->open = true;
	batch->fresh = false;
	batch->slot = slot;
	batch->param_count = 0;
	batch->array_left = 0;
	buffer_clear(&batch->values);
}

void pg_query_fresh(struct pg_batch *batch, unsigned slot)
{
	pg_query(batch, slot);
	batch->fresh = true;
}

int pg_batch_status(struct pg_batch *batch)
{
	end_query(batch);
	return batch->status;
}

static struct pg_param *add_param(struct pg_batch *batch, unsigned oid)
{
	REQUIRE(batch->open && batch->param_count < PG_PARAMS_MAX);
	struct pg_param *param = &batch->params[batch->param_count++];
	*param = (struct pg_param){.offset = batch->values.len, .length = -1, .oid = oid};
	return param;
}

/* A value, or an element of the array that is being bound. data NULL: NULL. */
static void bind_value(struct pg_batch *batch, enum pg_type type, const void *data, size_t len)
{
	if (batch->array_left > 0) {
		struct pg_param *array = &batch->params[batch->param_count - 1];
		REQUIRE(array->oid == array_oids[type]);
		append_be32(batch, data == NULL ? UINT32_MAX : (uint32_t)len);
		if (data != NULL)
			append(batch, data, len);
		batch->array_left--;
		array->length = (int)(batch->values.len - array->offset);
		return;
	}
	struct pg_param *param = add_param(batch, type_oids[type]);
	if (data == NULL)
		return;
	append(batch, data, len);
	param->length = (int)len;
}

void pg_bind_array(struct pg_batch *batch, enum pg_type type, size_t count)
{
	REQUIRE(batch->array_left == 0 && count < INT32_MAX);
	struct pg_param *param = add_param(batch, array_oids[type]);
	append_be32(batch, count == 0 ? 0 : 1); /* dimensions */
	append_be32(batch, 1);                  /* may have NULLs */
	append_be32(batch, type_oids[type]);
	if (count > 0) {
		append_be32(batch, (uint32_t)count);
		append_be32(batch, 1); /* the first index */
	}
	param->length = (int)(batch->values.len - param->offset);
	batch->array_left = count;
}

void pg_bind_bool(struct pg_batch *batch, bool value)
{
	char wire = value ? 1 : 0;
	bind_value(batch, PG_BOOL, &wire, 1);
}

static void bind_be64(struct pg_batch *batch, enum pg_type type, int64_t value, bool null)
{
	uint64_t wire = htobe64((uint64_t)value);
	bind_value(batch, type, null ? NULL : &wire, sizeof(wire));
}

void pg_bind_i64(struct pg_batch *batch, int64_t value)
{
	bind_be64(batch, PG_I64, value, false);
}

void pg_bind_i64_or_null(struct pg_batch *batch, int64_t value, int64_t null_value)
{
	bind_be64(batch, PG_I64, value, value == null_value);
}

void pg_bind_time(struct pg_batch *batch, int64_t ms)
{
	bind_be64(batch, PG_TIME, (ms - EPOCH_2000_MS) * 1000, ms == -1);
}

void pg_bind_text(struct pg_batch *batch, const char *text)
{
	bool null = text == NULL || text[0] == '\0';
	size_t len = null ? 0 : strlen(text);
	bind_value(batch, PG_TEXT, null ? NULL : text, len);
	/* The server refuses the whole statement for one bad byte; a text that was cut to fit may have one. */
	if (batch->status == 0)
		utf8_repair(batch->values.data + batch->values.len - len, len);
}

void pg_bind_uuid(struct pg_batch *batch, const uint8_t uuid[16])
{
	bind_value(batch, PG_UUID, uuid, 16);
}

/* ---- rows ---- */

static const PGresult *native(const struct pg_result *result)
{
	return (const PGresult *)(const void *)result;
}

size_t pg_rows(const struct pg_result *result)
{
	return result == NULL ? 0 : (size_t)PQntuples(native(result));
}

bool pg_is_null(const struct pg_result *result, size_t row, int column)
{
	return PQgetisnull(native(result), (int)row, column) == 1;
}

int64_t pg_i64(const struct pg_result *result, size_t row, int column, int64_t null_value)
{
	if (pg_is_null(result, row, column))
		return null_value;
	const char *value = PQgetvalue(native(result), (int)row, column);
	if (PQfformat(native(result), column) == 0)
		return strtoll(value, NULL, 10);
	uint64_t wide;
	uint32_t narrow;
	switch (PQgetlength(native(result), (int)row, column)) {
	case sizeof(wide):
		memcpy(&wide, value, sizeof(wide));
		return (int64_t)be64toh(wide);
	case sizeof(narrow):
		memcpy(&narrow, value, sizeof(narrow));
		return (int32_t)be32toh(narrow);
	default:
		return null_value;
	}
}

bool pg_bool(const struct pg_result *result, size_t row, int column)
{
	if (pg_is_null(result, row, column))
		return false;
	char value = PQgetvalue(native(result), (int)row, column)[0];
	return value == 1 || value == 't';
}

int64_t pg_time(const struct pg_result *result, size_t row, int column)
{
	if (pg_is_null(result, row, column))
		return -1;
	int64_t us = pg_i64(result, row, column, 0);
	int64_t ms = us / 1000 - (us % 1000 < 0 ? 1 : 0);
	return ms + EPOCH_2000_MS;
}

void pg_text(const struct pg_result *result, size_t row, int column, char *out, size_t size)
{
	const char *value = PQgetvalue(native(result), (int)row, column); /* "" for NULL */
	size_t len = (size_t)PQgetlength(native(result), (int)row, column);
	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(out, value, len);
	out[len] = '\0';
}
