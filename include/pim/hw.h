/* SPDX-License-Identifier: MIT */
/*
 * The card ABI: what a PIM card and its driver agree on, byte by byte.
 *
 * Shared by the kernel driver, the emulated card and the tests; applications never see it. The prose that goes with it,
 * enough to write a second card from, is include/pim/hw.rst. All integers are little-endian. Everything lives in one
 * memory region, "the BAR" (BAR2 of the emulated PCI function); every address in this file is a byte offset into it.
 *
 *	page 0		struct pim_hw_header	written by the card, read-only for the driver
 *	page 1		struct pim_hw_control	written by the driver
 *	page 2		struct pim_hw_state	written by the card
 *	page 3		struct pim_hw_authority	owner: written by the driver; the rest: by the card
 *	slots_off	struct pim_hw_slot[nslots]
 *	ring_off	struct pim_hw_desc[ring_entries], one array per engine
 *	done_off	struct pim_hw_done[ring_entries], one array per engine
 *	window_off	the host window: memory on the HOST side of the card, no banks, no PIM unit behind it
 *	mem_off		the PIM memory: banks
 */
#ifndef PIM_HW_H
#define PIM_HW_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#define PIM_HW_ASSERT(c) static_assert(c, #c)
#else
#include <assert.h>
#include <linux/types.h>
#define PIM_HW_ASSERT(c) _Static_assert(c, #c)
#endif

#define PIM_HW_MAGIC 0x314d4950u /* "PIM1" */
#define PIM_HW_ABI_MAJOR 2u /* a driver refuses a card of another major */
#define PIM_HW_ABI_MINOR 1u /* features are added at the end, with a bit in features */

#define PIM_HW_PAGE 4096u
#define PIM_HW_HEADER_OFF 0u
#define PIM_HW_CONTROL_OFF PIM_HW_PAGE
#define PIM_HW_STATE_OFF (2u * PIM_HW_PAGE)
#define PIM_HW_AUTHORITY_OFF (3u * PIM_HW_PAGE)

#define PIM_HW_MAX_DOMAINS 32u
#define PIM_HW_MAX_BINDINGS 12u
#define PIM_HW_MAX_WAITS 4u
#define PIM_HW_MAX_STREAMS 8u
#define PIM_HW_MAX_PARAMS 16u
#define PIM_HW_MAX_PLANES 1024u /* of a feature map, in either direction */
#define PIM_HW_COLUMN 32u /* bytes of one column access of one bank */
#define PIM_HW_BLOCK 64u /* bytes of one pixel of one 16-channel block, FP32: two columns */

/* The two engines. Also the numbers of their doorbells and of their interrupt vectors. */
enum pim_hw_engine {
	PIM_HW_HOST = 0,
	PIM_HW_PIM = 1,
	PIM_HW_ENGINES = 2,
};

#define PIM_HW_DB_CONTROL 2u /* doorbell: the driver wrote the control page */
#define PIM_HW_IRQ_EVENT 2u /* interrupt: struct pim_hw_state or an owner's use changed */
#define PIM_HW_VECTORS 3u

/* struct pim_hw_header.features */
#define PIM_HW_FEAT_FP32 (1ull << 0)
#define PIM_HW_FEAT_FP16 (1ull << 1)
#define PIM_HW_FEAT_BF16 (1ull << 2)
#define PIM_HW_FEAT_TIMING (1ull << 3) /* jobs report modelled time */
#define PIM_HW_FEAT_SPECIAL (1ull << 4) /* units have the special function unit: PIM_I_SPEC */

/**
 * struct pim_hw_header - what the card is; constant from reset on
 *
 * Geometry: a stack has pcs pseudo-channels, a pseudo-channel has bank_groups of banks, each of rows x row_bytes. One PIM
 * unit is shared by banks_per_unit banks. A domain is stacks * pcs / domains pseudo-channels, in their order, and a contiguous
 * domain_bytes of PIM memory.
 */
struct pim_hw_header {
	__u32 magic;
	__u16 abi_major;
	__u16 abi_minor;
	__u64 features;
	__u64 bar_bytes;
	__u64 slots_off;
	__u64 ring_off[PIM_HW_ENGINES];
	__u64 done_off[PIM_HW_ENGINES];
	__u64 window_off;
	__u64 window_bytes;
	__u64 mem_off;
	__u64 mem_bytes;
	__u64 domain_bytes;
	__u32 nslots;
	__u32 ring_entries; /* a power of two */
	__u32 domains;
	__u32 stacks;
	__u32 pcs;
	__u32 bank_groups;
	__u32 banks;
	__u32 banks_per_unit;
	__u32 rows;
	__u32 row_bytes;
	__u32 stripe_bytes; /* units of a domain x PIM_HW_COLUMN */
	__u32 crf_words;
	__u32 srf_words; /* program words of the base-die scalar unit */
	__u32 tck_ps;
	__u32 host_gflops; /* modelled peak of the HOST engine, FP32 */
	__u32 host_mbps; /* modelled external bandwidth of the PIM memory, MB/s */
	__u32 pim_mbps; /* modelled internal bandwidth of the PIM memory, MB/s */
	__u32 window_mbps; /* modelled bandwidth of the host window, MB/s */
	char name[64]; /* NUL-terminated */
};

/* struct pim_hw_control.command */
enum pim_hw_command {
	PIM_HW_CMD_NONE = 0,
	PIM_HW_CMD_RESET = 1, /* drop all jobs, rings empty, slots zero, all domains HOST; then answer the generation */
};

/**
 * struct pim_hw_control - the driver's side of the register file
 *
 * Handshake: the driver writes a new, non-zero generation and command RESET, then rings PIM_HW_DB_CONTROL. The card is ready
 * once struct pim_hw_state.generation equals it. A card that was started again under a running driver shows generation 0
 * and touches no ring until then.
 */
struct pim_hw_control {
	__u32 generation;
	__u32 command;
	__u64 tail[PIM_HW_ENGINES]; /* seqno of the last descriptor written; entry = (seqno - 1) % ring_entries */
};

enum pim_hw_card_state {
	PIM_HW_CARD_DOWN = 0,
	PIM_HW_CARD_READY = 1,
	PIM_HW_CARD_DEAD = 2, /* cannot go on until RESET */
};

/** struct pim_hw_state - the card's side of the register file */
struct pim_hw_state {
	__u32 generation;
	__u32 state;
	__u64 completed[PIM_HW_ENGINES]; /* seqno of the last job completed; its done record is valid */
	__u64 now_ns; /* modelled clock of the card at the end of the last batch timed */
	__u64 heartbeat; /* counts while the card's process lives and works */
	__u64 started[PIM_HW_ENGINES]; /* seqno of the last job whose execution began; RESET leaves it until the first job after it begins */
};

/* Who may touch a domain. */
enum pim_hw_owner {
	PIM_HW_OWNER_HOST = 0, /* CPU mappings and the HOST engine */
	PIM_HW_OWNER_PIM = 1, /* the PIM engine alone */
	PIM_HW_OWNER_AUTO = 2, /* the controller alternates exclusive periods of its two engines by each job's policy */
};

/** struct pim_hw_domain - one domain's part of the authority block */
struct pim_hw_domain {
	__u32 owner; /* enum pim_hw_owner; driver */
	__u32 pad;
	__u64 switches; /* modelled switches, both directions; card */
	__u64 tenure_ns[2]; /* modelled time held by HOST, by PIM; card */
	__u64 refused; /* jobs that ended with PIM_HW_E_AUTHORITY; card */
};

struct pim_hw_authority {
	struct pim_hw_domain domain[PIM_HW_MAX_DOMAINS];
};

/**
 * struct pim_hw_slot - a sequence counter that jobs wait on and signal
 *
 * A queue has one slot per engine. A job signals {slot, value} when it ends, in order, so a slot only grows. A job that
 * fails, or waits on a slot in error, sets error: every later job that waits on or signals that slot ends with
 * PIM_HW_E_CANCELED until the driver clears the slot.
 */
struct pim_hw_slot {
	__u64 value;
	__u32 error;
	__u32 stop; /* enum pim_hw_stop; driver */
};

/* What the driver wants of the jobs that signal a slot. */
enum pim_hw_stop {
	PIM_HW_STOP_NONE = 0,
	PIM_HW_STOP_WAITING = 1, /* those whose execution has not begun end with PIM_HW_E_CANCELED */
	PIM_HW_STOP_ALL = 2, /* the one in execution, too, ends as soon as it can, with PIM_HW_E_TIMEOUT */
};

struct pim_hw_wait {
	__u32 slot;
	__u32 pad;
	__u64 value;
};

/* struct pim_hw_binding.access */
#define PIM_HW_READ 1u
#define PIM_HW_WRITE 2u

/** struct pim_hw_binding - the memory a job may name: [base, base + bytes), filled in by the driver */
struct pim_hw_binding {
	__u64 base;
	__u64 bytes;
	__u32 access;
	__u32 pad;
};

/* struct pim_hw_policy.kind */
enum pim_hw_policy_kind {
	PIM_HW_POLICY_NONE = 0, /* the job's side must own its domains; never waits for authority */
	PIM_HW_POLICY_SERIAL = 1, /* the other side runs to the end of its job first */
	PIM_HW_POLICY_QUEUE = 2, /* double thresholds on queued requests, least and longest tenure */
};

/**
 * struct pim_hw_policy - switching conditions of one job (one layer) in an AUTO domain
 * @high: requests queued on the waiting side that end the other side's tenure (once min_ns is over)
 * @low: a side with fewer requests queued than this gives the tenure up when the other side waits
 */
struct pim_hw_policy {
	__u32 kind;
	__u32 high;
	__u32 low;
	__u32 pad;
	__u32 min_ns;
	__u32 max_ns; /* 0: no bound */
};

/* struct pim_hw_desc.flags */
#define PIM_HW_JOB_IRQ 1u /* raise the engine's vector when the job is done */
#define PIM_HW_JOB_TIMED 2u /* write a struct pim_hw_timing at time_off of binding time_binding */
#define PIM_HW_JOB_CLOSE 4u /* last job of its engine in the batch; the batch is timed with the last of these */

/* struct pim_hw_desc.op */
enum pim_hw_op {
	PIM_HW_OP_NOP = 0, /* both engines */
	PIM_HW_OP_PROGRAM = 1, /* PIM */
	PIM_HW_OP_CONV_FWD = 16, /* HOST from here on */
	PIM_HW_OP_CONV_BWD_DATA = 17,
	PIM_HW_OP_CONV_BWD_WEIGHTS = 18,
	PIM_HW_OP_GEMM = 19,
	PIM_HW_OP_SOFTMAX_CE = 20,
	PIM_HW_OP_COPY = 21,
	PIM_HW_OP_FILL = 22,
	PIM_HW_OP_POOL_FWD = 23,
	PIM_HW_OP_POOL_BWD = 24,
	PIM_HW_OP_DROPOUT = 25,
};

/**
 * struct pim_hw_stream - one memory operand of a PIM program
 *
 * Operand Mi of a unit instruction names column (block, plane, step) of stream i: stripe number
 * off / stripe_bytes + (block * block_bytes + plane * plane_bytes) / stripe_bytes + step of its binding; unit u of the domain gets
 * column u of that stripe, which lies in one of its own banks. So off, block_bytes and plane_bytes and the binding's base
 * (relative to mem_off) must be multiples of stripe_bytes: anything else is PIM_HW_E_LOCALITY. Streams that only the base-die
 * scalar unit names (LD, ST: address off + block * block_bytes + 64 * immediate) need multiples of 64 only.
 */
struct pim_hw_stream {
	__u32 binding;
	__u32 pad;
	__u64 off;
	__u64 block_bytes;
	__u64 plane_bytes;
};

/**
 * struct pim_hw_program - payload of PIM_HW_OP_PROGRAM
 *
 * The unit program (CRF) is crf_len words at code_off of binding code_binding; the base-die program follows it, srf_len words.
 * Loop bounds: blocks (16-channel blocks), planes, and steps = ceil(run_bytes / stripe_bytes) columns per plane. Unit u is
 * idle at a step whose column begins at or past run_bytes: step * stripe_bytes + u * 32 >= run_bytes (the tail of a plane).
 */
struct pim_hw_program {
	__u32 code_binding;
	__u32 crf_len;
	__u64 code_off;
	__u32 srf_len;
	__u32 nstreams;
	__u32 blocks;
	__u32 planes;
	__u64 run_bytes;
	__u64 pad;
	__u32 param[PIM_HW_MAX_PARAMS]; /* FP32 bits: P0..P15 of the base-die scalar unit */
	struct pim_hw_stream stream[PIM_HW_MAX_STREAMS];
};

/*
 * PIM instruction set (HBM-PIM's, extended). One 32-bit word:
 *
 *	[31:28] opcode  [27:25] dst  [24:22] src0  [21:19] src1  [18:16] src2  [15] A  [14:12] i2  [11:8] id  [7:4] i0  [3:0] i1
 *
 * dst, src0..src2 are operand spaces, id, i0, i1, i2 the indexes into them. With A set the instruction is repeated for the
 * eight columns step..step+7 (idle past the last step): indexes of MEM, GRF_A, GRF_B and PRED operands count up with it, those of
 * SRF and ACC do not. Without A it works on column "step" alone. 8 FP32 lanes; every operation rounds to nearest even, MAC and
 * MAD round the product, then the sum; no flush of denormals.
 */
enum pim_hw_opcode {
	PIM_I_NOP = 0,
	PIM_I_ADD = 1, /* dst = src0 + src1 */
	PIM_I_MUL = 2, /* dst = src0 * src1 */
	PIM_I_MAC = 3, /* dst = dst + src0 * src1 */
	PIM_I_MAD = 4, /* dst = src0 * src1 + src2 */
	PIM_I_SUB = 5, /* dst = src0 - src1 */
	PIM_I_MAX = 6, /* dst = src0 > src1 ? src0 : src1, a NaN in either wins */
	PIM_I_MIN = 7,
	PIM_I_MOV = 8, /* dst = src0 */
	PIM_I_FILL = 9, /* dst = src0; src0 must be MEM (HBM-PIM's name for a load) */
	PIM_I_CMP = 10, /* PRED[id] = src0 REL src1; REL in i2, enum pim_hw_rel; dst must be PRED */
	PIM_I_SEL = 11, /* dst = PRED[i2] ? src0 : src1 per lane; src2 must be PRED */
	PIM_I_SPEC = 12, /* dst = f(src0); f in i2, enum pim_hw_special. The special function unit is narrower than the lanes */
	PIM_I_SCAL = 13, /* the base-die scalar unit runs from word [10:0] of its program to RET; units wait */
	PIM_I_JUMP = 14, /* see enum pim_hw_jump */
	PIM_I_EXIT = 15,
};

enum pim_hw_space {
	PIM_S_MEM = 0, /* stream index 0..7 */
	PIM_S_ZERO = 1, /* +0.0; source only */
	PIM_S_GRF_A = 2, /* 8 x 256 bit */
	PIM_S_GRF_B = 3, /* 8 x 256 bit */
	PIM_S_SRF = 4, /* 8 x 256 bit, one scalar per channel (lane); written by the base die, source only */
	PIM_S_ACC = 5, /* 4 x 256 bit FP32 accumulators, which the base die reduces */
	PIM_S_PRED = 6, /* 8 x 8 lane bits */
};

enum pim_hw_rel {
	PIM_REL_EQ = 0,
	PIM_REL_GT = 1,
	PIM_REL_GE = 2,
	PIM_REL_NE = 3,
};

/* Functions of SPEC. Every card gives the same bits: hw.rst defines exp operation by operation. */
enum pim_hw_special {
	PIM_F_RCP = 0, /* 1 / src0, correctly rounded */
	PIM_F_SQRT = 1, /* correctly rounded */
	PIM_F_EXP = 2, /* e to the power of src0 */
};

/*
 * JUMP: [27:26] kind, [25:11] count (kind COUNT only), [10:0] target word. A counter loop ends when its counter reaches its bound, and
 * the counter is zero again after that.
 */
enum pim_hw_jump {
	PIM_J_COUNT = 0, /* back to target until the loop body has run count times */
	PIM_J_STEP = 1, /* step += 8; back while step < steps */
	PIM_J_PLANE = 2, /* plane += 1; back while plane < planes */
	PIM_J_BLOCK = 3, /* block += 1; back while block < blocks */
};

/*
 * Base-die scalar unit: 16 registers R0..R15 of 16 FP32 lanes, one lane per channel of the block (columns of even units hold
 * channels 0..7, of odd units 8..15). One 32-bit word:
 *
 *	[31:26] opcode  [25:22] d  [21:18] a  [17:14] b  [13:10] c  [9:0] immediate
 */
enum pim_hw_scalar {
	PIM_B_RET = 0,
	PIM_B_RED = 1, /* Rd = sum of ACC[a] over the units: even units -> lanes 0..7, odd -> 8..15; order fixed, see hw.rst */
	PIM_B_LD = 2, /* Rd = 64 bytes of stream a at block, + 64 * immediate */
	PIM_B_ST = 3, /* the same place = Rd */
	PIM_B_PAR = 4, /* Rd = P[immediate] in all lanes */
	PIM_B_ADD = 5, /* Rd = Ra + Rb */
	PIM_B_SUB = 6,
	PIM_B_MUL = 7,
	PIM_B_MAD = 8, /* Rd = Ra * Rb + Rc, product rounded first */
	PIM_B_MAX = 9,
	PIM_B_RCP = 10, /* Rd = 1 / Ra, correctly rounded */
	PIM_B_RSQRT = 11, /* Rd = 1 / sqrt(Ra): both correctly rounded in FP32 */
	PIM_B_BC = 12, /* SRF[immediate] of every unit = its half of Ra */
	PIM_B_MOV = 13, /* Rd = Ra */
	PIM_B_SQRT = 14,
};

/**
 * struct pim_hw_fmap - where a feature map lies
 *
 * c channels (padded to blocks of 16), n images of h x w pixels. Channel block b begins at off + b * block_bytes. Inside it the
 * pixels are in wh * ww planes: pixel (i, y, x) is in plane (y % wh) * ww + x % ww, at 64 bytes *
 * ((i * (h / wh) + y / wh) * (w / ww) + x / ww) of that plane; planes are plane_bytes apart. wh = ww = 1 is the plain layout.
 * wh x ww planes (PIM_HW_MAX_PLANES) put the elements of one pool window at the same place of different planes, hence in the same PIM unit.
 */
struct pim_hw_fmap {
	__u32 binding;
	__u32 n, c, h, w;
	__u32 wh, ww;
	__u32 pad;
	__u64 off;
	__u64 block_bytes;
	__u64 plane_bytes;
};

/**
 * struct pim_hw_conv - payload of the CONV operations
 *
 * src: forward input (its gradient, written, in BWD_DATA). dst: forward output (its gradient, read, in BWD_*). dh, dw: distance of two taps
 * in pixels, 1 is the ordinary convolution. groups cut the channels of src and of dst in as many equal parts, of icg and ocg channels; an
 * output channel sees the input channels of its own group only.
 *
 * Weights (their gradient, written, in BWD_WEIGHTS): [oc/16][icg/16][kh][kw][16 ic][16 oc] FP32 at wei_off, both counts of blocks rounded
 * up; ic counts within the group of its output channel, and a block of output channels may span groups. With groups > 1 and icg = 1
 * (depthwise, with or without a multiplier) there is no ic to pad: [oc/16][kh][kw][16 oc]. bias: oc padded to 16, FP32.
 * The tile is [first, first + count) output channels, in BWD_DATA input channels; multiples of 16, wherever the groups end.
 */
struct pim_hw_conv {
	struct pim_hw_fmap src;
	struct pim_hw_fmap dst;
	__u32 kh, kw, sh, sw, ph, pw;
	__u32 dh, dw;
	__u32 groups;
	__u32 first, count;
	__u32 wei_binding;
	__u32 bias_binding;
	__u32 flags;
	__u64 wei_off;
	__u64 bias_off;
};
#define PIM_HW_CONV_BIAS 1u /* FWD: add it; BWD_WEIGHTS: write its gradient too */
#define PIM_HW_CONV_ACCUM 2u /* BWD_DATA: add to src instead of writing it */

/** struct pim_hw_gemm - C = A x B (+ C if accumulate); row-major FP32, op(A) m x k, op(B) k x n */
struct pim_hw_gemm {
	__u32 a_binding, b_binding, c_binding;
	__u32 trans; /* bit 0: A is given k x m; bit 1: B is given n x k */
	__u32 m, n, k;
	__u32 lda, ldb, ldc; /* elements */
	__u32 accumulate;
	__u32 pad;
	__u64 a_off, b_off, c_off;
};

/**
 * struct pim_hw_softmax - softmax cross-entropy over fmap logits (h = w = 1), mean over the batch
 *
 * grad (same layout, may be the same place) = (softmax - target) / n; padded channels zero. label: n x u32. The target of an image is
 * (1 - smooth) onehot(label) + smooth / c. out: struct of {float loss; u32 correct}. Summation in image order.
 */
struct pim_hw_softmax {
	struct pim_hw_fmap logits;
	struct pim_hw_fmap grad;
	__u32 label_binding;
	__u32 out_binding;
	__u64 label_off;
	__u64 out_off;
	__u32 flags;
	__u32 smooth; /* FP32 bits: 0 <= smooth < 1 */
};
#define PIM_HW_SOFTMAX_NO_GRAD 1u

/** struct pim_hw_copy - payload of COPY (fmap to fmap, any layouts, same n c h w) and FILL (32-bit pattern over dst bytes) */
struct pim_hw_copy {
	struct pim_hw_fmap src;
	struct pim_hw_fmap dst;
	__u64 bytes; /* COPY: if not zero, plain bytes from src.off to dst.off, geometry ignored; FILL: bytes at dst.off */
	__u32 pattern; /* FILL */
	__u32 pad;
};

/* struct pim_hw_pool.kind */
enum pim_hw_pool_kind {
	PIM_HW_POOL_MAX = 0,
	PIM_HW_POOL_AVG = 1, /* padding counts as zeros */
	PIM_HW_POOL_AVG_REAL = 2, /* mean of the real pixels alone */
};

/**
 * struct pim_hw_pool - payload of the POOL operations
 *
 * src: forward input (its gradient, written, in BWD). dst: forward output (its gradient, read, in BWD). value: forward input, in BWD
 * of MAX; else all zero. Window (y, x) begins at row y * sh - ph, column x * sw - pw of src; windows may overlap, and dst says how
 * many there are. The tile is [first, first + count) channels, multiples of 16.
 */
struct pim_hw_pool {
	struct pim_hw_fmap src;
	struct pim_hw_fmap dst;
	struct pim_hw_fmap value;
	__u32 kh, kw, sh, sw, ph, pw;
	__u32 kind; /* enum pim_hw_pool_kind */
	__u32 first, count;
	__u32 pad;
};

/**
 * struct pim_hw_dropout - payload of DROPOUT: dst = kept ? src / keep : 0, any layouts, same n c h w
 *
 * Forward of a map, or backward of its gradient: what is kept depends on seed, step and the place in (n, c, h, w) alone. dst may be
 * src itself. The tile is [first, first + count) channels, multiples of 16.
 */
struct pim_hw_dropout {
	struct pim_hw_fmap src;
	struct pim_hw_fmap dst;
	__u64 seed;
	__u64 step;
	__u32 first, count;
	__u32 keep; /* FP32 bits: 0 < keep <= 1, the probability */
	__u32 pad;
};

/** struct pim_hw_desc - one job */
struct pim_hw_desc {
	__u32 op;
	__u32 flags;
	__u64 seqno; /* the ring's; must be the one expected at this entry */
	__u64 batch; /* jobs of both rings with the same non-zero batch are timed together, closed by JOB_CLOSE on each ring used */
	__u32 nwaits;
	__u32 nbindings;
	struct pim_hw_wait wait[PIM_HW_MAX_WAITS];
	struct pim_hw_wait signal;
	struct pim_hw_policy policy;
	__u32 time_binding;
	__u32 batch_rings; /* bit per engine that closes this batch; same in all its jobs */
	__u64 time_off;
	__u64 pad[9];
	struct pim_hw_binding binding[PIM_HW_MAX_BINDINGS];
	union {
		struct pim_hw_program program;
		struct pim_hw_conv conv;
		struct pim_hw_gemm gemm;
		struct pim_hw_softmax softmax;
		struct pim_hw_copy copy;
		struct pim_hw_pool pool;
		struct pim_hw_dropout dropout;
		__u8 payload[512];
	};
};

/* struct pim_hw_done.status */
enum pim_hw_status {
	PIM_HW_OK = 0,
	PIM_HW_E_INVALID = 1, /* descriptor or instruction that means nothing */
	PIM_HW_E_BOUNDS = 2, /* outside its binding, or the binding outside the memory */
	PIM_HW_E_ACCESS = 3, /* the binding does not allow this access */
	PIM_HW_E_LOCALITY = 4, /* a unit was sent to a column that is not in its banks */
	PIM_HW_E_AUTHORITY = 5, /* the job's side does not own the domain */
	PIM_HW_E_TIMEOUT = 6, /* a program ran past the card's instruction limit, or PIM_HW_STOP_ALL ended the job */
	PIM_HW_E_CANCELED = 7, /* a job it depends on failed, or its slot was stopped before it began */
};

/** struct pim_hw_done - completion record; entry of the job's descriptor */
struct pim_hw_done {
	__u64 seqno;
	__u32 status;
	__u32 where; /* program word, or binding number for BOUNDS and ACCESS of a HOST job */
	__u64 address; /* the offending address, if any */
	__u32 unit;
	__u32 pad;
	__u64 pad2[4];
};

/**
 * struct pim_hw_timing - modelled time of one job, in ns of the card's clock
 *
 * Written when its batch is closed, if it lies in the time binding of the job that closes it last (of the job itself without a batch).
 */
struct pim_hw_timing {
	__u64 queued_ns; /* its waits were over and its engine free */
	__u64 start_ns;
	__u64 end_ns;
	__u64 compute_ns; /* of end - start: arithmetic on the critical side */
	__u64 memory_ns; /* waiting for its own memory traffic */
	__u64 authority_ns; /* waiting for authority */
	__u64 switch_ns; /* switching */
	__u64 refresh_ns;
	__u64 bytes; /* memory traffic */
	__u64 switches;
	__u64 pad[6];
};

PIM_HW_ASSERT(sizeof(struct pim_hw_header) == 240);
PIM_HW_ASSERT(sizeof(struct pim_hw_control) == 24);
PIM_HW_ASSERT(sizeof(struct pim_hw_state) == 56);
PIM_HW_ASSERT(sizeof(struct pim_hw_domain) == 40);
PIM_HW_ASSERT(sizeof(struct pim_hw_authority) <= PIM_HW_PAGE);
PIM_HW_ASSERT(sizeof(struct pim_hw_slot) == 16);
PIM_HW_ASSERT(sizeof(struct pim_hw_wait) == 16);
PIM_HW_ASSERT(sizeof(struct pim_hw_binding) == 24);
PIM_HW_ASSERT(sizeof(struct pim_hw_policy) == 24);
PIM_HW_ASSERT(sizeof(struct pim_hw_stream) == 32);
PIM_HW_ASSERT(sizeof(struct pim_hw_program) == 368);
PIM_HW_ASSERT(sizeof(struct pim_hw_fmap) == 56);
PIM_HW_ASSERT(sizeof(struct pim_hw_conv) == 184);
PIM_HW_ASSERT(sizeof(struct pim_hw_gemm) == 72);
PIM_HW_ASSERT(sizeof(struct pim_hw_softmax) == 144);
PIM_HW_ASSERT(sizeof(struct pim_hw_copy) == 128);
PIM_HW_ASSERT(sizeof(struct pim_hw_pool) == 208);
PIM_HW_ASSERT(sizeof(struct pim_hw_dropout) == 144);
PIM_HW_ASSERT(sizeof(struct pim_hw_desc) == 1024);
PIM_HW_ASSERT(sizeof(struct pim_hw_done) == 64);
PIM_HW_ASSERT(sizeof(struct pim_hw_timing) == 128);

#endif
