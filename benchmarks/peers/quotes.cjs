// Quotes the exact-in cases of the vectors with the official SDKs, and says how many a CPU second they give.
// usage: node quotes.cjs VECTORS_FOLDER CPU_SECONDS_PER_PROTOCOL; the last line is one JSON object.
'use strict'
const fs = require('fs')
const path = require('path')
const zlib = require('zlib')
const BN = require('bn.js')
const { PublicKey } = require('@solana/web3.js')

const [folder, seconds] = [process.argv[2], Number(process.argv[3])]
const bn = (text) => new BN(text)
const pools = (name) => JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`))).pools
const bytes = (raw) => {
  const data = Buffer.from(raw.data, 'base64')
  return raw.encoding.endsWith('zlib') ? zlib.inflateSync(data) : data
}
// What both sides quote: an exact input for which there is a whole answer, and which no program refused.
const graded = (pool) =>
  pool.cases.filter((c) => c.mode === 'exact_in' && !c.error && !c.partial && c.program?.ok !== false && c.amountOut && c.amountOut !== '0')
const said = (c) => c.sdkAmountOut ?? c.amountOut

function cpmm() {
  const { CurveCalculator } = require('@raydium-io/raydium-sdk-v2')
  return pools('raydium_cpmm').filter((p) => !p.transferFee.a && !p.transferFee.b).flatMap((p) => {
    const { config, pool } = p.decoded
    const rates = [config.tradeFeeRate, pool.enableCreatorFee ? config.creatorFeeRate : '0', config.protocolFeeRate, config.fundFeeRate].map(bn)
    const [a, b] = [bn(p.reserves.a), bn(p.reserves.b)]
    return graded(p).map((c) => {
      const sellsA = c.side === 'a_to_b'
      const onInput = pool.feeOn === 0 || (pool.feeOn === 1) === sellsA
      const [rin, rout] = sellsA ? [a, b] : [b, a]
      const amount = bn(c.amount)
      return [c, () => CurveCalculator.swapBaseInput(amount, rin, rout, ...rates, onInput).outputAmount.toString()]
    })
  })
}

function ammV4() {
  const raydium = require('@raydium-io/raydium-sdk-v2')
  const Liquidity = require('@raydium-io/raydium-sdk-v2/lib/raydium/liquidity/liquidity').default
  return pools('raydium_amm_v4').flatMap((p) => {
    const d = p.decoded.pool
    const side = (address, decimals) => ({ address, decimals: Number(decimals) })
    const poolInfo = {
      version: 4, mintA: side(d.baseMint, d.baseDecimal), mintB: side(d.quoteMint, d.quoteDecimal),
      baseReserve: bn(p.reserves.a), quoteReserve: bn(p.reserves.b), feeRate: 0.0025,
    }
    return graded(p).map((c) => {
      const [mintIn, mintOut] = c.side === 'a_to_b' ? [d.baseMint, d.quoteMint] : [d.quoteMint, d.baseMint]
      const asked = { poolInfo, amountIn: bn(c.amount), mintIn, mintOut, slippage: 0 }
      return [c, () => Liquidity.prototype.computeAmountOut.call({ logger: raydium.createLogger?.('q') }, asked).amountOut.toString()]
    })
  })
}

function clmm() {
  const sdk = require('@raydium-io/raydium-sdk-v2')
  return pools('raydium_clmm').flatMap((p) => {
    const poolInfo = sdk.PoolInfoLayout.decode(bytes(p.accounts.pool))
    const configInfo = sdk.ClmmConfigLayout.decode(bytes(p.accounts.config))
    const arrays = p.accounts.tickArrays.map((raw) => ({ address: new PublicKey(raw.pubkey), value: sdk.TickArrayLayout.decode(bytes(raw)) }))
    const span = poolInfo.tickSpacing * 60
    return graded(p).map((c) => {
      const zeroForOne = c.side === 'a_to_b'
      const ahead = arrays.filter(({ value }) => zeroForOne ? value.startTickIndex <= poolInfo.tickCurrent : value.startTickIndex + span > poolInfo.tickCurrent)
      ahead.sort((x, y) => (zeroForOne ? -1 : 1) * (x.value.startTickIndex - y.value.startTickIndex))
      const asked = {
        programId: new PublicKey(p.accounts.pool.owner), poolId: new PublicKey(p.accounts.pool.pubkey), poolInfo, tickArrays: ahead,
        configInfo, amountSpecified: bn(c.amount), sqrtPriceLimitX64: bn(0), zeroForOne, isBaseInput: true,
        blockTimestamp: p.timestamp, includeExtraTickArrays: false,
      }
      return [c, () => sdk.swapInternal(asked).amountCalculated.abs().toString()]
    })
  })
}

function whirlpool() {
  const { swapQuoteByInputToken } = require('@orca-so/whirlpools-core')
  const empty = { initialized: false, liquidityNet: 0n, liquidityGross: 0n, feeGrowthOutsideA: 0n, feeGrowthOutsideB: 0n, rewardGrowthsOutside: [0n, 0n, 0n] }
  return pools('orca_whirlpool').filter((p) => !p.accounts.oracle).flatMap((p) => {
    const d = p.decoded.pool
    const facade = {
      feeTierIndexSeed: Uint8Array.from(Buffer.from(d.feeTierIndexSeed.hex, 'hex')), tickSpacing: d.tickSpacing, feeRate: d.feeRate,
      protocolFeeRate: d.protocolFeeRate, liquidity: BigInt(d.liquidity), sqrtPrice: BigInt(d.sqrtPrice), tickCurrentIndex: d.tickCurrentIndex,
      feeGrowthGlobalA: BigInt(d.feeGrowthGlobalA), feeGrowthGlobalB: BigInt(d.feeGrowthGlobalB),
      rewardLastUpdatedTimestamp: BigInt(d.rewardLastUpdatedTimestamp),
      rewardInfos: d.rewardInfos.map(() => ({ emissionsPerSecondX64: 0n, growthGlobalX64: 0n })),
    }
    const arrays = p.decoded.ticks.map(({ start, ticks }) => {
      const all = Array.from({ length: 88 }, () => empty)
      for (const [index, net, gross] of ticks) all[(index - start) / d.tickSpacing] = { ...empty, initialized: true, liquidityNet: BigInt(net), liquidityGross: BigInt(gross) }
      return { startTickIndex: start, ticks: all }
    })
    return graded(p).map((c) => [c, () => swapQuoteByInputToken(BigInt(c.amount), c.side === 'a_to_b', 0, facade, undefined, arrays, BigInt(p.timestamp)).tokenEstOut.toString()])
  })
}

function dlmm() {
  const sdk = require('@meteora-ag/dlmm')
  const { BorshAccountsCoder } = require('@coral-xyz/anchor')
  const { convertIdlToCamelCase } = require('@coral-xyz/anchor/dist/cjs/idl')
  const coder = new BorshAccountsCoder(convertIdlToCamelCase(sdk.IDL))
  return pools('meteora_dlmm').filter((p) => !p.transferFee.a && !p.transferFee.b).flatMap((p) => {
    const desk = Object.create(sdk.default?.prototype ?? sdk.prototype)
    const mint = (raw) => ({ mint: { address: new PublicKey(raw.pubkey), tlvData: Buffer.alloc(0) } })
    Object.assign(desk, {
      lbPair: coder.decode('lbPair', bytes(p.accounts.pool)), tokenX: mint(p.accounts.mintA), tokenY: mint(p.accounts.mintB),
      clock: { epoch: bn(p.epoch), unixTimestamp: bn(p.timestamp) },
    })
    const arrays = p.accounts.binArrays.map((raw) => ({ publicKey: new PublicKey(raw.pubkey), account: coder.decode('binArray', bytes(raw)) }))
    return graded(p).map((c) => {
      const amount = bn(c.amount)
      return [c, () => desk.swapQuote(amount, c.side === 'a_to_b', bn(0), arrays, true).outAmount.toString(), p.timestamp]
    })
  })
}

function pumpswap() {
  const { sellBaseInput, buyQuoteInput } = require('@pump-fun/pump-swap-sdk')
  const fees = (f) => ({ lpFeeBps: bn(f.lpFeeBps), protocolFeeBps: bn(f.protocolFeeBps), creatorFeeBps: bn(f.creatorFeeBps) })
  return pools('pumpswap').flatMap((p) => {
    const g = p.globalConfig
    const given = {
      slippage: 0, baseReserve: bn(p.reserves.base), quoteReserve: bn(p.reserves.quote), virtualQuoteReserves: bn(p.reserves.virtualQuote ?? '0'),
      globalConfig: Object.fromEntries(Object.entries(g).map(([name, value]) => [name, bn(value)])), baseMintAccount: { supply: BigInt(p.supply) }, baseMint: new PublicKey(p.baseMint),
      coinCreator: new PublicKey(p.coinCreator), creator: new PublicKey(p.creator), isMayhemMode: Boolean(p.decoded.pool?.isMayhemMode), creatorFeeBps: p.decoded.pool?.creatorFeeBps,
      quoteMint: new PublicKey('So11111111111111111111111111111111111111112'),
      feeConfig: p.feeConfig && {
        flatFees: fees(p.feeConfig.flatFees),
        feeTiers: p.feeConfig.feeTiers.map((t) => ({ marketCapLamportsThreshold: bn(t.marketCapLamportsThreshold), fees: fees(t.fees) })),
      },
    }
    return graded(p).map((c) => c.side === 'sell'
      ? [c, () => sellBaseInput({ ...given, base: bn(c.amount) }).uiQuote.toString()]
      : [c, () => buyQuoteInput({ ...given, quote: bn(c.amount) }).base.toString()])
  })
}

const realNow = Date.now
function measure(cases) {
  const works = []
  let same = 0, failure = null
  for (const [c, quote, timestamp] of cases) {
    Date.now = timestamp ? () => timestamp * 1000 : realNow
    try {
      same += quote() === said(c) ? 1 : 0
      works.push(quote)
    } catch (error) {
      failure ??= String(error.message ?? error).slice(0, 120)
    }
  }
  if (cases.length && cases[0][2]) Date.now = () => cases[0][2] * 1000
  if (!works.length) return { cases: cases.length, quoted: 0, same, failure }
  for (let round = 0; round < 3; round++) works.forEach((quote) => quote()) // the compiler warms up
  const began = process.cpuUsage()
  let quotes = 0, spent = 0
  while (spent < seconds * 1e6) {
    for (const quote of works) quote()
    quotes += works.length
    const used = process.cpuUsage(began)
    spent = used.user + used.system
  }
  Date.now = realNow
  return { cases: cases.length, quoted: works.length, same, failure, per_cpu_s: Math.round(quotes / spent * 1e6) }
}

const found = {}
const all = { raydium_cpmm: cpmm, raydium_amm_v4: ammV4, raydium_clmm: clmm, orca_whirlpool: whirlpool, meteora_dlmm: dlmm, pumpswap }
for (const [name, cases] of Object.entries(all)) {
  try {
    found[name] = measure(cases())
  } catch (error) {
    found[name] = { failure: String(error.message ?? error).slice(0, 200) }
  }
}
console.log(JSON.stringify(found))
